/* An application that beats for apphbd every 100 ms under the name of its first argument, and promises it within 500 ms. */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct head { int32_t length; uint32_t magic; };
struct registration { char type[8], name[256], instance[256], directory[256]; int32_t pid; uint32_t uid, gid; };
struct number { char type[8]; uint64_t value; };

static int to;

static void say(const void *body, int32_t length) {
    struct head head = { length, 0xabcd };
    if (write(to, &head, sizeof head) != sizeof head || write(to, body, length) != length)
        _exit(1);
}

static void ask(const void *body, int32_t length) {
    int32_t answer[3];
    say(body, length);
    if (read(to, answer, sizeof answer) != sizeof answer || answer[2] != 0)
        _exit(2);
}

int main(int count, char **words) {
    struct sockaddr_un where = { AF_UNIX, "/run/heartbeat/apphb.comm" };
    struct registration who = { "reg", "", "one", "/", getpid(), getuid(), getgid() };
    struct number interval = { "setint", 500 };
    const char beat[8] = "hb";
    if (count < 2)
        return 64;
    strncpy(who.name, words[1], sizeof who.name - 1);
    to = socket(AF_UNIX, SOCK_STREAM, 0);
    while (connect(to, (struct sockaddr *)&where, sizeof where) != 0)
        usleep(100000);
    ask(&who, sizeof who);
    ask(&interval, sizeof interval);
    for (;; usleep(100000))
        say(beat, sizeof beat);
}
