/* An application that apphbd watches: registers under the name that it is given, and beats ten times a second. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connection;

/* What is asked, in its frame; an answer must say that it was done. */
static void ask(const void *body, int length, int is_answered)
{
    struct { int length; unsigned magic; char body[800]; } frame = { length, 0xabcd, "" };
    int answer[3];
    memcpy(frame.body, body, length);
    if (write(connection, &frame, 8 + length) != 8 + length)
        exit(1);
    if (is_answered && (read(connection, answer, sizeof answer) != sizeof answer || answer[2] != 0))
        exit(2);
}

int main(int count, char **words)
{
    struct sockaddr_un place = { AF_UNIX, "/run/heartbeat/apphb.comm" };
    struct { char type[8], name[256], instance[256], directory[256]; int pid, uid, gid; } who =
        { "reg", "", "one", "/", getpid(), getuid(), getgid() };
    struct { char type[8]; unsigned long ms; } interval = { "setint", 1000 };
    if (count != 2 || strlen(words[1]) >= sizeof who.name)
        return 64;
    strcpy(who.name, words[1]);
    for (;;) {
        connection = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(connection, (struct sockaddr *)&place, sizeof place) == 0)
            break;
        close(connection);
        usleep(100000);
    }
    ask(&who, sizeof who, 1);
    ask(&interval, sizeof interval, 1);
    for (;;) {
        ask("hb\0\0\0\0\0", 8, 0);
        usleep(100000);
    }
}
