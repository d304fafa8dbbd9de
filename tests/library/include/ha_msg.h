/* What a client uses of libplumb's messages; the package with their own header brings half a tool chain. */
#ifndef NULLBEAT_TEST_HA_MSG_H
#define NULLBEAT_TEST_HA_MSG_H
#define HA_OK 1
#define HA_FAIL 0
typedef struct IPC_CHANNEL IPC_Channel;
struct ha_msg;
struct ha_msg *ha_msg_new(int fields);
int ha_msg_add(struct ha_msg *message, const char *name, const char *value);
void ha_msg_del(struct ha_msg *message);
int ha_msg_addstruct(struct ha_msg *message, const char *name, const void *nested);
int ha_msg_addstruct_compress(struct ha_msg *message, const char *name, const void *nested);
int ha_msg_addbin(struct ha_msg *message, const char *name, const void *bytes, size_t length);
const void *cl_get_binary(const struct ha_msg *message, const char *name, size_t *length);
struct ha_msg *cl_get_struct(struct ha_msg *message, const char *name);
const char *cl_get_string(const struct ha_msg *message, const char *name);
#endif
