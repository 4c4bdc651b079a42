/*
 * The other end of the interoperability tests: one usrsctp association over UDP encapsulation (RFC 6951) on loopback,
 * driven by lines on standard input and reporting by lines on standard output. The Rust test beside this file compiles
 * and starts it; `driver.rs` there is the other half of the line protocol.
 *
 *   peer listen  UDP_PORT             [name=value ...]
 *   peer connect UDP_PORT REMOTE_PORT [name=value ...]
 *
 * Settings:  streams=N (both directions), rwnd=BYTES, rto_min=MS, any=1 (announce every local address), pr=0, reset=0,
 *            interleaving=1, echo=1 (return each message), dcep=1 (acknowledge DATA_CHANNEL_OPEN, answer each reset by
 *            the reset of the other direction), quiet=1 (no line per message: see `total`)
 * Commands:  send STREAM PPID ORDER LENGTH COUNT FIRST   COUNT messages of a pattern, numbered from FIRST
 *            hex STREAM PPID ORDER BYTES                 one message with these bytes
 *            reset STREAM ... | reset all                outgoing stream reset (RFC 6525)
 *            reset-in STREAM ...                         ask the other end to reset its outgoing side
 *            add-streams N, set NAME VALUE, pause, resume, total, shutdown, abort REASON, exit
 *            ORDER is o or u, then optionally r<retransmissions> or t<milliseconds>
 * Reports:   ready, up OUT IN, message STREAM PPID o|u LENGTH HASH [BYTES], sent, reset-done LIST, peer-reset LIST,
 *            reset-failed WHY LIST, streams-changed IN OUT, total MESSAGES BYTES SUM, peer-shutdown, send-failed N, restart,
 *            lost ERROR, shut, error WHAT
 *
 * A hash is FNV-1a, 64 bits, of a message; SUM adds them up, so that it does not depend on the order.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usrsctp.h>

#define SCTP_PORT 5000
#define READ_SIZE (1 << 20)      /* bytes taken from the library at once; longer messages come in pieces */
#define SEND_BUFFER (32 << 20)   /* the library refuses messages above its send buffer */
#define HEX_MAX 64               /* longer messages are reported by their hash alone */
#define LINE_SIZE (1 << 20)
#define STREAMS_MAX 65536
#define OPTION_INTERLEAVING 0x1206 /* not named in the header of 0.9.5 */

static struct {
	long streams, rwnd, rto_min, any, pr, reset, interleaving, echo, dcep, quiet;
} settings = {.streams = 2048, .rwnd = 4 << 20, .rto_min = 200, .pr = 1, .reset = 1};

static const struct {
	const char *name;
	long *value;
} names[] = {
	{"streams", &settings.streams}, {"rwnd", &settings.rwnd},   {"rto_min", &settings.rto_min},
	{"any", &settings.any},         {"pr", &settings.pr},       {"reset", &settings.reset},
	{"interleaving", &settings.interleaving},                   {"echo", &settings.echo},
	{"dcep", &settings.dcep},       {"quiet", &settings.quiet},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct socket *association; /* under lock; NULL while there is none */
static bool paused;                /* under lock */

static uint64_t total_messages, total_bytes, total_sum; /* under lock */

static void report(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	flockfile(stdout);
	vprintf(format, arguments);
	putchar('\n');
	fflush(stdout);
	funlockfile(stdout);
	va_end(arguments);
}

static void fail(const char *what)
{
	report("error %s: %s", what, strerror(errno));
	_exit(1);
}

static uint64_t hash(const uint8_t *bytes, size_t length)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < length; i++) {
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	}
	return h;
}

/* Message `index` of `stream`: a xorshift sequence, the same as `pattern` in driver.rs. */
static void fill(uint8_t *bytes, size_t length, uint16_t stream, uint32_t index)
{
	uint64_t x = ((uint64_t)stream << 32 | index) * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (size_t i = 0; i < length; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		bytes[i] = (uint8_t)(x >> (i % 8 * 8));
	}
}

static struct socket *current(void)
{
	pthread_mutex_lock(&lock);
	struct socket *so = association;
	pthread_mutex_unlock(&lock);
	return so;
}

static void set_option(struct socket *so, int name, const void *value, socklen_t length, const char *what)
{
	if (usrsctp_setsockopt(so, IPPROTO_SCTP, name, value, length) < 0) {
		fail(what);
	}
}

static void set_value(struct socket *so, int name, uint32_t value, const char *what)
{
	struct sctp_assoc_value v = {.assoc_id = SCTP_FUTURE_ASSOC, .assoc_value = value};
	set_option(so, name, &v, sizeof v, what);
}

static struct sockaddr_in loopback(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static struct socket *open_socket(void)
{
	struct socket *so = usrsctp_socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
	if (so == NULL) {
		fail("socket");
	}
	int on = 1, size = SEND_BUFFER, window = (int)settings.rwnd;
	if (usrsctp_setsockopt(so, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) < 0 ||
	    usrsctp_setsockopt(so, SOL_SOCKET, SO_RCVBUF, &window, sizeof window) < 0) {
		fail("buffer sizes");
	}
	set_option(so, SCTP_NODELAY, &on, sizeof on, "SCTP_NODELAY");
	/* Without this the stream and the PPID of what is received are not filled in. */
	set_option(so, SCTP_RECVRCVINFO, &on, sizeof on, "SCTP_RECVRCVINFO");
	set_value(so, SCTP_PR_SUPPORTED, settings.pr != 0, "SCTP_PR_SUPPORTED");
	set_value(so, SCTP_RECONFIG_SUPPORTED, settings.reset != 0, "SCTP_RECONFIG_SUPPORTED");
	set_value(so, SCTP_ENABLE_STREAM_RESET, settings.reset ? SCTP_ENABLE_VALUE_MASK : 0, "SCTP_ENABLE_STREAM_RESET");
	if (settings.interleaving) {
		int level = 2;
		set_option(so, SCTP_FRAGMENT_INTERLEAVE, &level, sizeof level, "SCTP_FRAGMENT_INTERLEAVE");
		set_value(so, OPTION_INTERLEAVING, 1, "interleaving");
	}
	struct sctp_initmsg init = {.sinit_num_ostreams = (uint16_t)settings.streams,
	                            .sinit_max_instreams = (uint16_t)settings.streams};
	set_option(so, SCTP_INITMSG, &init, sizeof init, "SCTP_INITMSG");
	struct sctp_rtoinfo rto = {.srto_initial = 500, .srto_max = 2000, .srto_min = (uint32_t)settings.rto_min};
	set_option(so, SCTP_RTOINFO, &rto, sizeof rto, "SCTP_RTOINFO");
	static const uint16_t wanted[] = {SCTP_ASSOC_CHANGE,       SCTP_SHUTDOWN_EVENT,    SCTP_SEND_FAILED_EVENT,
	                                  SCTP_STREAM_RESET_EVENT, SCTP_STREAM_CHANGE_EVENT, SCTP_PARTIAL_DELIVERY_EVENT};
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		struct sctp_event event = {.se_assoc_id = SCTP_FUTURE_ASSOC, .se_type = wanted[i], .se_on = 1};
		set_option(so, SCTP_EVENT, &event, sizeof event, "SCTP_EVENT");
	}
	struct sockaddr_in local = loopback(SCTP_PORT);
	if (settings.any) {
		local.sin_addr.s_addr = htonl(INADDR_ANY);
	}
	if (usrsctp_bind(so, (struct sockaddr *)&local, sizeof local) < 0) {
		fail("bind");
	}
	return so;
}

/* Sends one message; false if there is no association to send it on. ORDER is explained at the top. */
static bool send_message(struct socket *so, uint16_t stream, uint32_t ppid, const char *order, const void *bytes,
                         size_t length)
{
	struct sctp_sendv_spa spa = {.sendv_flags = SCTP_SEND_SNDINFO_VALID};
	spa.sendv_sndinfo.snd_sid = stream;
	spa.sendv_sndinfo.snd_ppid = htonl(ppid);
	spa.sendv_sndinfo.snd_flags = SCTP_EOR | (order[0] == 'u' ? SCTP_UNORDERED : 0);
	if (order[1] == 'r' || order[1] == 't') {
		spa.sendv_flags |= SCTP_SEND_PRINFO_VALID;
		spa.sendv_prinfo.pr_policy = order[1] == 'r' ? SCTP_PR_SCTP_RTX : SCTP_PR_SCTP_TTL;
		spa.sendv_prinfo.pr_value = (uint32_t)strtoul(order + 2, NULL, 10);
	}
	for (;;) {
		ssize_t sent = usrsctp_sendv(so, bytes, length, NULL, 0, &spa, sizeof spa, SCTP_SENDV_SPA, 0);
		if (sent >= 0) {
			return true;
		}
		/* A stream whose reset is under way takes nothing before the answer is in. */
		if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
			report("error send: %s", strerror(errno));
			return false;
		}
		usleep(1000);
	}
}

static int reset_streams(struct socket *so, uint16_t direction, const uint16_t *list, size_t count)
{
	size_t size = sizeof(struct sctp_reset_streams) + count * sizeof list[0];
	struct sctp_reset_streams *request = calloc(1, size);
	if (request == NULL) {
		fail("memory");
	}
	request->srs_flags = direction;
	request->srs_number_streams = (uint16_t)count;
	if (count != 0) {
		memcpy(request->srs_stream_list, list, count * sizeof list[0]);
	}
	int result;
	/* One request may be under way at a time; the next one waits for its end. */
	while ((result = usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_RESET_STREAMS, request, (socklen_t)size)) < 0 &&
	       (errno == EAGAIN || errno == EALREADY || errno == EBUSY)) {
		usleep(1000);
	}
	free(request);
	return result;
}

static void on_message(struct socket *so, const struct sctp_rcvinfo *info, const uint8_t *bytes, size_t length)
{
	uint64_t h = hash(bytes, length);
	uint32_t ppid = ntohl(info->rcv_ppid);
	const char *order = info->rcv_flags & SCTP_UNORDERED ? "u" : "o";
	pthread_mutex_lock(&lock);
	total_messages += 1;
	total_bytes += length;
	total_sum += h;
	pthread_mutex_unlock(&lock);
	if (!settings.quiet) {
		char hex[2 * HEX_MAX + 1] = "";
		for (size_t i = 0; i < length && length <= HEX_MAX; i++) {
			sprintf(hex + 2 * i, "%02x", bytes[i]);
		}
		report("message %u %" PRIu32 " %s %zu %016" PRIx64 " %s", info->rcv_sid, ppid, order, length, h, hex);
	}
	if (settings.dcep && ppid == 50 && length >= 12 && bytes[0] == 3) {
		send_message(so, info->rcv_sid, 50, "o", "\x02", 1);
	} else if (settings.echo) {
		send_message(so, info->rcv_sid, ppid, order, bytes, length);
	}
}

static void on_stream_reset(struct socket *so, const struct sctp_stream_reset_event *event)
{
	size_t count = (event->strreset_length - sizeof *event) / sizeof event->strreset_stream_list[0];
	char *list = calloc(count + 1, 8), *end = list;
	if (list == NULL) {
		fail("memory");
	}
	for (size_t i = 0; i < count; i++) {
		end += sprintf(end, " %u", event->strreset_stream_list[i]);
	}
	uint16_t flags = event->strreset_flags;
	if (flags & (SCTP_STREAM_RESET_DENIED | SCTP_STREAM_RESET_FAILED)) {
		report("reset-failed %s%s", flags & SCTP_STREAM_RESET_DENIED ? "denied" : "failed", list);
	} else if (flags & SCTP_STREAM_RESET_INCOMING_SSN) {
		report("peer-reset%s", list);
		if (settings.dcep && reset_streams(so, SCTP_STREAM_RESET_OUTGOING, event->strreset_stream_list, count) < 0) {
			report("error answering reset: %s", strerror(errno));
		}
	} else {
		report("reset-done%s", list);
	}
	free(list);
}

static void on_notification(struct socket *so, const union sctp_notification *event, size_t length)
{
	if (length < sizeof event->sn_header || event->sn_header.sn_length != length) {
		report("error notification of %zu bytes", length);
		return;
	}
	switch (event->sn_header.sn_type) {
	case SCTP_ASSOC_CHANGE: {
		const struct sctp_assoc_change *change = &event->sn_assoc_change;
		if (change->sac_state == SCTP_COMM_UP) {
			report("up %u %u", change->sac_outbound_streams, change->sac_inbound_streams);
		} else if (change->sac_state == SCTP_RESTART) {
			report("restart");
		} else if (change->sac_state == SCTP_SHUTDOWN_COMP) {
			report("shut");
		} else {
			report("lost %u", change->sac_error);
		}
		break;
	}
	case SCTP_SHUTDOWN_EVENT:
		report("peer-shutdown");
		break;
	case SCTP_SEND_FAILED_EVENT:
		report("send-failed %u", event->sn_send_failed_event.ssfe_info.snd_sid);
		break;
	case SCTP_STREAM_RESET_EVENT:
		on_stream_reset(so, &event->sn_strreset_event);
		break;
	case SCTP_STREAM_CHANGE_EVENT:
		report("streams-changed %u %u", event->sn_strchange_event.strchange_instrms,
		       event->sn_strchange_event.strchange_outstrms);
		break;
	case SCTP_PARTIAL_DELIVERY_EVENT:
		report("partial-aborted %u", event->sn_pdapi_event.pdapi_stream);
		break;
	}
}

/* Reads until the association ends. A message longer than READ_SIZE comes in pieces and is put together here. */
static void receive(struct socket *so)
{
	/* With interleaving, parts of messages arrive in turn. */
	struct part {
		uint8_t *bytes;
		size_t length, room;
	} *parts = calloc(STREAMS_MAX, sizeof *parts);
	uint8_t *read = malloc(READ_SIZE);
	if (parts == NULL || read == NULL) {
		fail("memory");
	}
	for (;;) {
		pthread_mutex_lock(&lock);
		while (paused) {
			pthread_cond_wait(&changed, &lock);
		}
		pthread_mutex_unlock(&lock);
		struct sctp_rcvinfo info = {0};
		struct sockaddr_in from;
		socklen_t from_length = sizeof from, info_length = sizeof info;
		unsigned int info_type = 0;
		int flags = 0;
		ssize_t n = usrsctp_recvv(so, read, READ_SIZE, (struct sockaddr *)&from, &from_length, &info, &info_length,
		                          &info_type, &flags);
		if (n <= 0) {
			break;
		}
		if (flags & MSG_NOTIFICATION) {
			const union sctp_notification *event = (const union sctp_notification *)read;
			if (event->sn_header.sn_type == SCTP_PARTIAL_DELIVERY_EVENT) {
				parts[event->sn_pdapi_event.pdapi_stream % STREAMS_MAX].length = 0;
			}
			on_notification(so, event, (size_t)n);
			continue;
		}
		struct part *part = &parts[info.rcv_sid];
		if (part->room - part->length < (size_t)n) {
			part->room = 2 * part->room + (size_t)n;
			part->bytes = realloc(part->bytes, part->room);
			if (part->bytes == NULL) {
				fail("memory");
			}
		}
		memcpy(part->bytes + part->length, read, (size_t)n);
		part->length += (size_t)n;
		if (flags & MSG_EOR) {
			on_message(so, &info, part->bytes, part->length);
			part->length = 0;
		}
	}
	for (size_t stream = 0; stream < STREAMS_MAX; stream++) {
		free(parts[stream].bytes);
	}
	free(parts);
	free(read);
}

static void become(struct socket *so)
{
	pthread_mutex_lock(&lock);
	association = so;
	pthread_mutex_unlock(&lock);
}

static void *dial(void *so)
{
	struct sockaddr_in remote = loopback(SCTP_PORT);
	if (usrsctp_connect(so, (struct sockaddr *)&remote, sizeof remote) < 0) {
		report("lost %d", errno);
	} else {
		become(so);
		receive(so);
	}
	become(NULL);
	usrsctp_close(so);
	report("closed");
	return NULL;
}

static void *accept_all(void *listener)
{
	struct socket *so;
	while ((so = usrsctp_accept(listener, NULL, NULL)) != NULL) {
		become(so);
		receive(so);
		become(NULL);
		usrsctp_close(so);
		report("closed");
	}
	fail("accept");
	return NULL;
}

static bool set_setting(const char *name, long value)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(names[i].name, name) == 0) {
			*names[i].value = value;
			return true;
		}
	}
	return false;
}

static void command_send(char *rest)
{
	unsigned stream, ppid, count, first;
	size_t length;
	char order[32];
	if (sscanf(rest, "%u %u %31s %zu %u %u", &stream, &ppid, order, &length, &count, &first) != 6 || length == 0) {
		report("error usage of send");
		return;
	}
	uint8_t *bytes = malloc(length);
	if (bytes == NULL) {
		fail("memory");
	}
	bool sent = true;
	for (uint32_t i = 0; i < count && sent; i++) {
		fill(bytes, length, (uint16_t)stream, first + i);
		struct socket *so = current();
		sent = so != NULL && send_message(so, (uint16_t)stream, ppid, order, bytes, length);
	}
	free(bytes);
	report(sent ? "sent" : "error send: given up");
}

static void command_hex(char *rest)
{
	unsigned stream, ppid;
	char order[32];
	int at = 0;
	if (sscanf(rest, "%u %u %31s %n", &stream, &ppid, order, &at) < 3 || at == 0) {
		report("error usage of hex");
		return;
	}
	size_t length = strlen(rest + at) / 2;
	uint8_t *bytes = malloc(length + 1);
	if (bytes == NULL) {
		fail("memory");
	}
	for (size_t i = 0; i < length; i++) {
		unsigned byte = 0;
		sscanf(rest + at + 2 * i, "%2x", &byte);
		bytes[i] = (uint8_t)byte;
	}
	struct socket *so = current();
	bool sent = so != NULL && send_message(so, (uint16_t)stream, ppid, order, bytes, length);
	free(bytes);
	report(sent ? "sent" : "error hex: given up");
}

static void command_reset(struct socket *so, uint16_t direction, char *rest)
{
	static uint16_t list[65535];
	size_t count = 0;
	bool all = strcmp(rest, "all") == 0;
	for (char *word = strtok(rest, " "); !all && word != NULL && count < 65535; word = strtok(NULL, " ")) {
		list[count++] = (uint16_t)strtoul(word, NULL, 10);
	}
	if (so == NULL || reset_streams(so, direction, list, count) < 0) {
		report("error reset: %s", so == NULL ? "no association" : strerror(errno));
	}
}

static void command(char *name, char *rest)
{
	struct socket *so = current();
	if (strcmp(name, "send") == 0) {
		command_send(rest);
	} else if (strcmp(name, "hex") == 0) {
		command_hex(rest);
	} else if (strcmp(name, "reset") == 0) {
		command_reset(so, SCTP_STREAM_RESET_OUTGOING, rest);
	} else if (strcmp(name, "reset-in") == 0) {
		command_reset(so, SCTP_STREAM_RESET_INCOMING, rest);
	} else if (strcmp(name, "add-streams") == 0 && so != NULL) {
		struct sctp_add_streams add = {.sas_outstrms = (uint16_t)strtoul(rest, NULL, 10)};
		if (usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_ADD_STREAMS, &add, sizeof add) < 0) {
			report("error add-streams: %s", strerror(errno));
		}
	} else if (strcmp(name, "pause") == 0 || strcmp(name, "resume") == 0) {
		pthread_mutex_lock(&lock);
		paused = name[0] == 'p';
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	} else if (strcmp(name, "set") == 0) {
		char *value = strchr(rest, ' ');
		if (value == NULL || (*value = 0, !set_setting(rest, strtol(value + 1, NULL, 10)))) {
			report("error usage of set");
		}
	} else if (strcmp(name, "total") == 0) {
		pthread_mutex_lock(&lock);
		uint64_t messages = total_messages, bytes = total_bytes, sum = total_sum;
		pthread_mutex_unlock(&lock);
		report("total %" PRIu64 " %" PRIu64 " %016" PRIx64, messages, bytes, sum);
	} else if (strcmp(name, "shutdown") == 0 && so != NULL) {
		if (usrsctp_shutdown(so, SHUT_WR) < 0) {
			report("error shutdown: %s", strerror(errno));
		}
	} else if (strcmp(name, "abort") == 0 && so != NULL) {
		struct sctp_sndinfo info = {.snd_flags = SCTP_ABORT};
		usrsctp_sendv(so, rest, strlen(rest), NULL, 0, &info, sizeof info, SCTP_SENDV_SNDINFO, 0);
	} else if (strcmp(name, "exit") == 0) {
		_exit(0);
	} else {
		report("error cannot do %s now", name);
	}
}

/* The library says nothing when it cannot have its UDP port, so ask: the port must be taken once it is up. */
static void check_udp_port(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int probe = socket(AF_INET, SOCK_DGRAM, 0);
	if (probe < 0 || bind(probe, (struct sockaddr *)&address, sizeof address) == 0) {
		errno = EADDRNOTAVAIL;
		fail("UDP port");
	}
	close(probe);
}

int main(int argc, char **argv)
{
	bool connecting = argc >= 2 && strcmp(argv[1], "connect") == 0;
	int first = connecting ? 4 : 3;
	if (argc < first || (!connecting && strcmp(argv[1], "listen") != 0)) {
		fprintf(stderr, "usage: peer listen UDP_PORT [name=value ...] | peer connect UDP_PORT REMOTE_PORT [...]\n");
		return 2;
	}
	for (int i = first; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		if (value == NULL || (*value = 0, !set_setting(argv[i], strtol(value + 1, NULL, 10)))) {
			fprintf(stderr, "no such setting: %s\n", argv[i]);
			return 2;
		}
	}
	uint16_t port = (uint16_t)strtoul(argv[2], NULL, 10);
	usrsctp_init(port, NULL, NULL);
	check_udp_port(port);
	usrsctp_sysctl_set_sctp_blackhole(0);
	usrsctp_sysctl_set_sctp_no_csum_on_loopback(0);

	struct socket *so = open_socket();
	if (connecting) {
		struct sockaddr_in remote = loopback(SCTP_PORT);
		struct sctp_udpencaps encapsulation = {.sue_port = htons((uint16_t)strtoul(argv[3], NULL, 10))};
		memcpy(&encapsulation.sue_address, &remote, sizeof remote);
		set_option(so, SCTP_REMOTE_UDP_ENCAPS_PORT, &encapsulation, sizeof encapsulation, "UDP encapsulation");
	} else if (usrsctp_listen(so, 1) < 0) {
		fail("listen");
	}
	report("ready");
	pthread_t receiver;
	if (pthread_create(&receiver, NULL, connecting ? dial : accept_all, so) != 0) {
		fail("thread");
	}

	static char line[LINE_SIZE];
	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = 0;
		char *rest = strchr(line, ' ');
		if (rest != NULL) {
			*rest++ = 0;
		}
		command(line, rest != NULL ? rest : line + strlen(line));
	}
	_exit(0); /* whoever held the other end of our input is gone */
}
