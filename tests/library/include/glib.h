/* Names of types that the headers of Heartbeat's library mention and clients do not use: GLib's own headers are large. */
#ifndef NULLBEAT_TEST_GLIB_H
#define NULLBEAT_TEST_GLIB_H
#include <stddef.h>
typedef int gboolean;
typedef unsigned int guint;
typedef int gint;
typedef void *gpointer;
typedef const void *gconstpointer;
typedef void (*GDestroyNotify)(gpointer);
typedef struct GList GList;
typedef struct GHashTable GHashTable;
typedef struct GMainContext GMainContext;
#define TRUE 1
#define FALSE 0
#endif
