/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path of the control socket.
 *
 * A socket file that nobody listens on is left over from a tracker that died: it is replaced. One
 * that accepts is another tracker: EADDRINUSE. Anything that is no socket is never removed. Two
 * trackers that start at the same moment must not take each other's fresh socket for a stale one
 * (bound, not listening yet), so probe, removal, bind and listen happen under a flock on the
 * directory.
 *
 * The mode is right before the first connection is possible: the file's mode comes from the
 * socket's own (fchmod before bind, never wider than 0660, the umask only narrows it), is set
 * exactly after bind, and only then does listen() let anybody in.
 *
 * Sources: unix(7) "pathname sockets", net/unix/af_unix.c unix_bind_bsd().
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_log.h>

#define LISTEN_MODE     0660
#define LISTEN_BACKLOG  64
#define LISTEN_LOCK_MS  2000
#define LISTEN_DIR_MODE 0755
#define LISTEN_RETRY_MS 10

static bool
path_is_under(const char *path, const char *dir)
{
	return strncmp(path, dir, strlen(dir)) == 0;
}

/* Makes the directories of @p path that are missing, where it lies below /run. */
static int
make_parents(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	size_t skip;

	if (path_is_under(path, "/run/"))
		skip = strlen("/run/");
	else if (path_is_under(path, "/var/run/"))
		skip = strlen("/var/run/");
	else
		return 0;
	strcpy(dir, path);
	for (char *slash = strchr(dir + skip, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(dir, LISTEN_DIR_MODE) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

/* Opens the directory of @p path and locks it. @return its fd or negative errno. */
static int
lock_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;
	int fd;

	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (!slash)
		strcpy(dir, ".");
	else
		slash[slash == dir] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += LISTEN_RETRY_MS) {
		if (errno != EWOULDBLOCK || waited >= LISTEN_LOCK_MS) {
			int err = errno == EWOULDBLOCK ? -EBUSY : -errno;

			close(fd);
			return err;
		}
		usleep(LISTEN_RETRY_MS * 1000);
	}
	return fd;
}

/* Makes room for bind(). @return 0, -EADDRINUSE where somebody listens, -EEXIST for no socket. */
static int
remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, err;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? errno : 0;
	close(fd);
	if (err == ENOENT)
		return 0;
	if (err != ECONNREFUSED) /* accepted, queue full (EAGAIN), or not for us to judge */
		return err == EACCES ? -EACCES : -EADDRINUSE;
	return unlink(addr->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int
bind_locked(struct mqt_ctl *ctl, const struct sockaddr_un *addr)
{
	int err = remove_stale(addr);
	int fd;

	if (err < 0)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, LISTEN_MODE) < 0 ||
			bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	if (chmod(addr->sun_path, LISTEN_MODE) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
			lstat(addr->sun_path, &ctl->path_stat) < 0) {
		err = -errno;
		unlink(addr->sun_path);
		close(fd);
		return err;
	}
	ctl->listen_fd = fd;
	return 0;
}

int
ctl_listen_open(struct mqt_ctl *ctl)
{
	const char *path = ctl->p.config->control.socket;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int lock, err;

	if (path[0] == '\0' || memchr(path, '\0', sizeof(addr.sun_path)) == NULL)
		return -EINVAL;
	strcpy(addr.sun_path, path);
	err = make_parents(path);
	if (err < 0)
		return err;
	lock = lock_directory(path);
	if (lock < 0)
		return lock;
	err = bind_locked(ctl, &addr);
	close(lock);
	return err;
}

void
ctl_listen_close(struct mqt_ctl *ctl)
{
	const char *path = ctl->p.config->control.socket;
	struct stat st;

	if (ctl->listen_fd < 0)
		return;
	if (lstat(path, &st) == 0 && st.st_dev == ctl->path_stat.st_dev &&
			st.st_ino == ctl->path_stat.st_ino)
		unlink(path);
	close(ctl->listen_fd);
	ctl->listen_fd = -1;
}
