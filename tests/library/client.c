/* A client written against the packaged libhbclient, as a site's own programs are: signs on as NAME, prints what it is told
 * by its callbacks and what comes from other clients of that name, and for each line "N" on its standard input sends N
 * numbered messages in order to all, and as many to the node PEER.
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
            count(cluster, argv[2], atoi(line));
        }
    }
    if (cluster->llc_ops->signoff(cluster, 1) != HA_OK) return 8;
    printf("signed off\n");
    return 0;
}
