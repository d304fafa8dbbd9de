/* A client written against the packaged libhbclient, as a site's own programs are: signs on as NAME, prints what it is told
 * by its callbacks and what comes from other clients of that name, and for each line "N" on its standard input sends N
 * numbered messages in order to all, and as many to the node PEER. For "nested N" it sends to PEER a message within a message
 * within a message, the innermost of which has N characters and a few bytes; "packed N" asks the library to compress it.
 *
 * cc client.c -I include -lhbclient -lplumb; include/glib.h has the names of types that the package's headers mention.
 */
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <hb_api.h>

static void node_changed(const char *node, const char *status, void *unused) {
    (void)unused;
    printf("node %s %s\n", node, status);
}

static void link_changed(const char *node, const char *link, const char *status, void *unused) {
    (void)unused;
    printf("link %s %s %s\n", node, link, status);
}

static void client_changed(const char *node, const char *client, const char *status, void *unused) {
    (void)unused;
    printf("client %s %s %s\n", node, client, status);
}

static struct ha_msg *message(const char *type, int number) {
    char text[16];
    struct ha_msg *made = ha_msg_new(4);
    snprintf(text, sizeof text, "%d", number);
    if (made == NULL || ha_msg_add(made, "t", type) != HA_OK || ha_msg_add(made, "number", text) != HA_OK) exit(3);
    return made;
}

static void count(ll_cluster_t *cluster, const char *peer, int last) {
    for (int number = 1; number <= last; number++) {
        struct ha_msg *to_all = message("to-all", number), *to_one = message("to-one", number);
        if (cluster->llc_ops->send_ordered_clustermsg(cluster, to_all) != HA_OK) exit(4);
        if (cluster->llc_ops->send_ordered_nodemsg(cluster, to_one, peer) != HA_OK) exit(5);
        ha_msg_del(to_all);
        ha_msg_del(to_one);
    }
    printf("sent %d\n", last);
}

static const char BYTES[] = {0, '\n', 0x14, '\r', '%', -1};

static void nest(ll_cluster_t *cluster, const char *peer, const char *kind, int length) {
    char *text = malloc(length + 1);
    struct ha_msg *outer = ha_msg_new(4), *middle = ha_msg_new(4), *inner = ha_msg_new(4);
    if (text == NULL || outer == NULL || middle == NULL || inner == NULL) exit(3);
    memset(text, 'x', length);
    text[length] = 0;
    int (*add)(struct ha_msg *, const char *, const void *) =
        strcmp(kind, "packed") == 0 ? ha_msg_addstruct_compress : ha_msg_addstruct;
    if (ha_msg_add(inner, "text", text) != HA_OK || ha_msg_addbin(inner, "bytes", BYTES, sizeof BYTES) != HA_OK) exit(3);
    if (ha_msg_add(middle, "lines", "two\nlines") != HA_OK || ha_msg_addstruct(middle, "inner", inner) != HA_OK) exit(3);
    if (ha_msg_add(outer, "t", kind) != HA_OK || add(outer, "middle", middle) != HA_OK) exit(3);
    printf("%s %d: %s\n", kind, length, cluster->llc_ops->sendnodemsg(cluster, outer, peer) == HA_OK ? "sent" : "not sent");
    ha_msg_del(outer);
    ha_msg_del(middle);
    ha_msg_del(inner);
    free(text);
}

/* Says how long the text of the innermost message is, if all of it is as it was. */
static void unnest(struct ha_msg *heard) {
    size_t length = 0;
    struct ha_msg *middle = cl_get_struct(heard, "middle"), *inner = middle == NULL ? NULL : cl_get_struct(middle, "inner");
    const char *lines = middle == NULL ? NULL : cl_get_string(middle, "lines");
    const char *text = inner == NULL ? NULL : cl_get_string(inner, "text");
    const void *bytes = inner == NULL ? NULL : cl_get_binary(inner, "bytes", &length);
    int is_whole = lines != NULL && strcmp(lines, "two\nlines") == 0 && text != NULL && strspn(text, "x") == strlen(text)
        && bytes != NULL && length == sizeof BYTES && memcmp(bytes, BYTES, length) == 0;
    if (middle == NULL) return;
    printf("%s %s %d\n", cl_get_string(heard, "src"), cl_get_string(heard, "t"), is_whole ? (int)strlen(text) : -1);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3) return 64;
    ll_cluster_t *cluster = ll_cluster_new("heartbeat");
    if (cluster == NULL || cluster->llc_ops->signon(cluster, argv[1]) != HA_OK) {
        printf("refused %s\n", cluster == NULL ? "" : cluster->llc_ops->errmsg(cluster));
        return 1;
    }
    if (cluster->llc_ops->set_nstatus_callback(cluster, node_changed, NULL) != HA_OK) return 2;
    if (cluster->llc_ops->set_ifstatus_callback(cluster, link_changed, NULL) != HA_OK) return 2;
    if (cluster->llc_ops->set_cstatus_callback(cluster, client_changed, NULL) != HA_OK) return 2;
    printf("signed on\n");
    struct pollfd ends[2] = {
        {.fd = cluster->llc_ops->inputfd(cluster), .events = POLLIN},
        {.fd = 0, .events = POLLIN},
    };
    for (;;) {
        struct ha_msg *heard;
        while (cluster->llc_ops->msgready(cluster) && (heard = cluster->llc_ops->readmsg(cluster, 0)) != NULL) {
            const char *type = cl_get_string(heard, "t"), *number = cl_get_string(heard, "number");
            if (number != NULL) printf("%s %s %s\n", cl_get_string(heard, "src"), type, number);
            else if (strcmp(type, "nested") == 0 || strcmp(type, "packed") == 0) unnest(heard);
            ha_msg_del(heard);
        }
        if (poll(ends, 2, -1) < 0) return 6;
        if (ends[0].revents & (POLLHUP | POLLERR) && !cluster->llc_ops->msgready(cluster)) {
            printf("connection lost\n");
            return 7;
        }
        if (ends[1].revents != 0) {
            char line[32];
            if (fgets(line, sizeof line, stdin) == NULL) break;
            char *number = strchr(line, ' ');
            if (number == NULL) {
                count(cluster, argv[2], atoi(line));
            } else {
                *number = 0;
                nest(cluster, argv[2], line, atoi(number + 1));
            }
        }
    }
    if (cluster->llc_ops->signoff(cluster, 1) != HA_OK) return 8;
    printf("signed off\n");
    return 0;
}
