/*
 * What a test program becomes when it is started as a runner: one that does what the message says.
 *
 * RUNNER_DOUBLE in the environment says how it behaves from the start:
 *   script   reads lines, and for each runs the commands between < and > in it; without any, it answers
 *   exit     ends with status 5, without reading anything
 *   half     reads one byte, then ends with status 6
 *   mute     neither reads nor writes nor ends
 *   closer   closes its channel and goes on
 *   talker   sends four bytes without being asked, then stops (SIGSTOP)
 *
 * DOUBLE_INIT in the environment are the commands for an init message, whatever it holds.
 *
 * Commands are separated by ";", their argument is what follows the blank:
 *   reply NAME   answers with that status; the payload is the message, or {"ok":true} to an init message
 *   status TEXT  as reply, with TEXT as the whole status line
 *   raw TEXT     sends TEXT; ~ is a newline
 *   big N        answers with a payload of N bytes
 *   env NAME     answers with the value of the variable, or "unset"
 *   facts        answers with what it knows of itself
 *   out TEXT, err TEXT   writes TEXT to fd 1 or 2; ~ is a newline
 *   flood N      writes N bytes to fd 1
 *   echo NAME    answers with that status and the message, also to an init message
 *   grow N       takes N MB of memory, and keeps them
 *   exit N, kill N, close, pause
 *   trap TEXT    from now on SIGTERM makes it write TEXT to fd 1 and end with status 7; without TEXT, nothing
 *   fork         starts a process that keeps all descriptors and does not end by itself
 */
#pragma once

#include "tap.h"

#include <signal.h>
#include <sys/mman.h>

enum { DOUBLE_MESSAGES = 3, DOUBLE_REPLIES = 4 };

static void double_send(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t count = write(fd, data, length);

		if (count < 0)
			_exit(99);
		data += count;
		length -= (size_t) count;
	}
}

/* In one write. */
static void double_send_text(int fd, const char *text)
{
	char *copy = strdup(text);

	for (char *at = copy; (at = strchr(at, '~')) != NULL;)
		*at = '\n';
	double_send(fd, copy, strlen(copy));
	free(copy);
}

static void double_answer(const char *status, const char *payload, size_t length)
{
	double_send(DOUBLE_REPLIES, status, strlen(status));
	double_send(DOUBLE_REPLIES, "\n", 1);
	double_send(DOUBLE_REPLIES, payload, length);
	double_send(DOUBLE_REPLIES, "\n", 1);
}

static void double_answer_name(const char *name, const char *payload)
{
	char status[200];

	(void) snprintf(status, sizeof(status), "{\"status\":\"%s\"}", name);
	double_answer(status, payload, strlen(payload));
}

static void double_big(int fd, size_t length, bool as_reply)
{
	char *data = malloc(length + 1);

	memset(data, 'b', length);
	if (as_reply)
		double_answer("{\"status\":\"success\"}", data, length);
	else
		double_send(fd, data, length);
	free(data);
}

static void double_grow(size_t megabytes)
{
	if (mmap(NULL, megabytes << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) ==
		MAP_FAILED)
		_exit(96);
}

static void double_facts(void)
{
	char text[200], byte;

	(void) snprintf(text, sizeof(text), "stdin %zd, group %s, parent %s", read(STDIN_FILENO, &byte, 1),
		getpgrp() == getpid() ? "own" : "other", getppid() > 1 ? "there" : "gone");
	double_answer("facts", text, strlen(text));
}

static _Noreturn void double_pause(void)
{
	for (;;)
		(void) pause();
}

/* A sanitizer would report a fault, and exit. */
static void double_die(int number)
{
	(void) signal(number, SIG_DFL);
	(void) kill(getpid(), number);
}

static const char *double_last_words;

static void double_on_sigterm(int number)
{
	(void) number;
	if (double_last_words[0] == '\0')
		return;
	(void) !write(STDOUT_FILENO, double_last_words, strlen(double_last_words));
	_exit(7);
}

static void double_trap(const char *last_words)
{
	const struct sigaction action = { .sa_handler = double_on_sigterm, .sa_flags = SA_RESTART };
	sigset_t wanted;

	double_last_words = strdup(last_words);
	(void) sigaction(SIGTERM, &action, NULL);
	/* A test's second loop hands down the mask of its first. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	(void) sigprocmask(SIG_UNBLOCK, &wanted, NULL);
}

static bool is_init_message(const char *line)
{
	return strstr(line, "\"handler\":") != NULL;
}

static void double_command(const char *command, const char *argument, const char *line)
{
	const char *payload = is_init_message(line) ? "{\"ok\":true}" : line;

	if (strcmp(command, "reply") == 0)
		double_answer_name(argument, payload);
	else if (strcmp(command, "status") == 0)
		double_answer(argument, payload, strlen(payload));
	else if (strcmp(command, "echo") == 0)
		double_answer_name(argument, line);
	else if (strcmp(command, "grow") == 0)
		double_grow(strtoul(argument, NULL, 10));
	else if (strcmp(command, "raw") == 0)
		double_send_text(DOUBLE_REPLIES, argument);
	else if (strcmp(command, "big") == 0)
		double_big(DOUBLE_REPLIES, strtoul(argument, NULL, 10), true);
	else if (strcmp(command, "env") == 0)
		double_answer_name("success", getenv(argument) != NULL ? getenv(argument) : "unset");
	else if (strcmp(command, "facts") == 0)
		double_facts();
	else if (strcmp(command, "out") == 0)
		double_send_text(STDOUT_FILENO, argument);
	else if (strcmp(command, "err") == 0)
		double_send_text(STDERR_FILENO, argument);
	else if (strcmp(command, "flood") == 0)
		double_big(STDOUT_FILENO, strtoul(argument, NULL, 10), false);
	else if (strcmp(command, "exit") == 0)
		_exit(atoi(argument));
	else if (strcmp(command, "kill") == 0)
		double_die(atoi(argument));
	else if (strcmp(command, "trap") == 0)
		double_trap(argument);
	else if (strcmp(command, "close") == 0)
		(void) (close(DOUBLE_MESSAGES) + close(DOUBLE_REPLIES));
	else if (strcmp(command, "pause") == 0 || (strcmp(command, "fork") == 0 && fork() == 0))
		double_pause();
	else if (strcmp(command, "fork") != 0)
		_exit(98);
}

static void double_take_line(const char *line)
{
	const char *start = strchr(line, '<'), *end = strchr(line, '>');
	const char *forced = is_init_message(line) ? getenv("DOUBLE_INIT") : NULL;
	char script[1000] = "", *next = script;

	if (forced != NULL)
		(void) snprintf(script, sizeof(script), "%s", forced);
	else if (start != NULL && end > start)
		(void) snprintf(script, sizeof(script), "%.*s", (int) (end - start - 1), start + 1);
	else
		(void) strcpy(script, is_init_message(line) ? "reply initialized" : "reply success");
	while (next != NULL && next[0] != '\0') {
		char *command = next + strspn(next, " "), *argument;

		next = strchr(command, ';');
		if (next != NULL)
			*next++ = '\0';
		argument = strchr(command, ' ');
		if (argument != NULL)
			*argument++ = '\0';
		double_command(command, argument != NULL ? argument : "", line);
	}
}

static _Noreturn void double_serve(void)
{
	FILE *messages = fdopen(DOUBLE_MESSAGES, "r");
	char *line = NULL;
	size_t capacity = 0;
	ssize_t length;

	(void) setvbuf(messages, NULL, _IOFBF, 65536);
	while ((length = getline(&line, &capacity, messages)) > 0) {
		if (line[length - 1] != '\n')
			break;
		line[length - 1] = '\0';
		double_take_line(line);
	}
	_exit(0);
}

static void double_talk(void)
{
	double_send(DOUBLE_REPLIES, "what", 4);
	(void) kill(getpid(), SIGSTOP);
}

/* First thing in main: does not return in a process that was started as a runner. */
static void become_runner_double(void)
{
	const char *mode = getenv("RUNNER_DOUBLE");
	char byte;

	if (mode == NULL)
		return;
	if (strcmp(mode, "exit") == 0)
		_exit(5);
	if (strcmp(mode, "half") == 0)
		_exit(read(DOUBLE_MESSAGES, &byte, 1) == 1 ? 6 : 97);
	if (strcmp(mode, "talker") == 0)
		double_talk();
	if (strcmp(mode, "closer") == 0)
		(void) (close(DOUBLE_MESSAGES) + close(DOUBLE_REPLIES));
	if (strcmp(mode, "script") == 0)
		double_serve();
	double_pause();
}
