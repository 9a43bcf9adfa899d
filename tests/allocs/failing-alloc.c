/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into espatd: counts its allocations and lets one of them fail. Ours are those that are
 * called from the program itself, be it malloc() or what allocates by it, as strdup() does; all others
 * are the libraries'.
 *
 *   FAILING_ALLOC="own N" or "library N"   the N-th of them fails, once
 *   FAILING_ALLOC_REPORT=FILE              struct report, kept while the program runs
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAMES_MAX 24
#define MODULE_MAX 56

enum whose {
	OWN,
	LIBRARY,
};

struct frame {
	uint64_t offset; /* in its module */
	char module[MODULE_MAX];
};

/* allocs.py knows its layout. */
struct report {
	uint64_t count[2]; /* by enum whose */
	uint64_t failed;   /* how many: 0 or 1 */
	struct frame failure[FRAMES_MAX];
	struct frame crash[FRAMES_MAX];
};

static struct {
	struct report *report;
	uintptr_t start, end; /* of the program */
	enum whose whose;
	uint64_t number; /* 0: none */
	bool inside;     /* what allocates by malloc(): counted already, as one */
	bool for_crypto; /* libcrypto allocates by functions of the program, and is a library yet */
	void *(*crypto_malloc)(size_t, const char *, int);
	void *(*crypto_realloc)(void *, size_t, const char *, int);
} state;

/* What malloc() and its kin are, without asking the dynamic linker, which allocates. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
/* What asprintf() and vasprintf() are with _FORTIFY_SOURCE. */
extern int __asprintf_chk(char **ret, int flag, const char *format, ...);
extern int __vasprintf_chk(char **ret, int flag, const char *format, va_list ap);

/* ---- the report ---- */

static void describe(struct frame frames[FRAMES_MAX], void *const *pc, int n)
{
	for (int i = 0; i < n && i < FRAMES_MAX; i++) {
		Dl_info info;
		const char *name;

		if (!dladdr(pc[i], &info) || !info.dli_fname)
			continue;
		name = strrchr(info.dli_fname, '/');
		snprintf(frames[i].module, MODULE_MAX, "%s", name ? name + 1 : info.dli_fname);
		frames[i].offset = (uintptr_t)pc[i] - (uintptr_t)info.dli_fbase;
	}
}

static void on_crash(int number)
{
	void *pc[FRAMES_MAX];

	/* Behind this function and the kernel's way back from it comes where it happened. */
	describe(state.report->crash, pc + 2, backtrace(pc, FRAMES_MAX) - 2);
	raise(number); /* by SA_RESETHAND for good */
}

static int find_program(struct dl_phdr_info *info, size_t size, void *userdata)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
			state.start = info->dlpi_addr + part->p_vaddr;
			state.end = state.start + part->p_memsz;
		}
	}
	return 1; /* the first one is the program */
}

static struct report *open_report(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *report = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, sizeof(struct report)) == 0)
		report = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			      0);
	if (report == MAP_FAILED) {
		perror(path);
		_exit(99);
	}
	close(fd);
	return report;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAILING_ALLOC_REPORT"), *what = getenv("FAILING_ALLOC");
	const struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND };
	void *first[1];

	if (!path)
		return;
	backtrace(first, 1); /* loads what it needs */
	dl_iterate_phdr(find_program, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
	if (what && sscanf(what, "own %lu", &state.number) != 1) {
		state.whose = LIBRARY;
		if (sscanf(what, "library %lu", &state.number) != 1)
			_exit(99);
	}
	state.report = open_report(path);
}

/* espatd hides from others; whoever tests it looks at its descriptors. */
int prctl(int option, ...)
{
	unsigned long arg[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		arg[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_DUMPABLE)
		return 0;
	return (int)syscall(SYS_prctl, option, arg[0], arg[1], arg[2], arg[3]);
}

/* ---- libcrypto ---- */

static void *crypto_malloc(size_t size, const char *file, int line)
{
	void *p;

	state.for_crypto = true;
	p = state.crypto_malloc(size, file, line);
	state.for_crypto = false;
	return p;
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
	void *p;

	state.for_crypto = true;
	p = state.crypto_realloc(old, size, file, line);
	state.for_crypto = false;
	return p;
}

extern int CRYPTO_set_mem_functions(void *(*m)(size_t, const char *, int),
				    void *(*r)(void *, size_t, const char *, int),
				    void (*f)(void *, const char *, int));

int CRYPTO_set_mem_functions(void *(*m)(size_t, const char *, int),
			     void *(*r)(void *, size_t, const char *, int),
			     void (*f)(void *, const char *, int))
{
	__typeof__(CRYPTO_set_mem_functions) *real = (__typeof__(real))dlsym(
		RTLD_NEXT, "CRYPTO_set_mem_functions");

	state.crypto_malloc = m;
	state.crypto_realloc = r;
	return real(crypto_malloc, crypto_realloc, f);
}

/* ---- what fails ---- */

/* Counts an allocation that @caller asked for; true: it is the one to fail. */
static bool is_to_fail(void *caller)
{
	bool from_program = (uintptr_t)caller >= state.start && (uintptr_t)caller < state.end;
	enum whose whose = from_program && !state.for_crypto ? OWN : LIBRARY;
	void *pc[FRAMES_MAX];

	if (!state.report || state.inside)
		return false;
	if (++state.report->count[whose] != state.number || whose != state.whose)
		return false;
	state.inside = true;
	state.report->failed++;
	describe(state.report->failure, pc, backtrace(pc, FRAMES_MAX));
	state.inside = false;
	errno = ENOMEM;
	return true;
}

#define FAILS() is_to_fail(__builtin_return_address(0))

void *malloc(size_t size)
{
	return FAILS() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return FAILS() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return FAILS() ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return FAILS() ? NULL : __libc_realloc(old, all);
}

static char *copy_of(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = __libc_malloc(size);

	return copy ? memcpy(copy, text, size) : NULL;
}

char *strdup(const char *text)
{
	return FAILS() ? NULL : copy_of(text);
}

/* What strdup() is in libraries that were built with an older <string.h>. */
extern char *__strdup(const char *text);

char *__strdup(const char *text)
{
	return FAILS() ? NULL : copy_of(text);
}

char *strndup(const char *text, size_t max)
{
	size_t len = strnlen(text, max);
	char *copy = FAILS() ? NULL : __libc_calloc(1, len + 1);

	return copy ? memcpy(copy, text, len) : NULL;
}

/*
 * What allocates inside of libc. For a caller in the program it counts as one; what it asks malloc()
 * for is then not counted.
 */
#define WRAPPED(type, failed, name, parameters, ...)                                               \
	type name parameters                                                                       \
	{                                                                                          \
		static __typeof__(name) *real;                                                     \
		bool outermost = !state.inside;                                                    \
		type result;                                                                       \
                                                                                                   \
		if (FAILS())                                                                       \
			return failed;                                                             \
		state.inside = true;                                                               \
		if (!real)                                                                         \
			real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);                        \
		result = real(__VA_ARGS__);                                                        \
		if (outermost)                                                                     \
			state.inside = false;                                                      \
		return result;                                                                     \
	}

WRAPPED(FILE *, NULL, fopen64, (const char *path, const char *mode), path, mode)
WRAPPED(FILE *, NULL, fdopen, (int fd, const char *mode), fd, mode)
WRAPPED(FILE *, NULL, fmemopen, (void *buf, size_t size, const char *mode), buf, size, mode)
WRAPPED(FILE *, NULL, open_memstream, (char **text, size_t *size), text, size)
WRAPPED(DIR *, NULL, opendir, (const char *path), path)
WRAPPED(DIR *, NULL, fdopendir, (int fd), fd)
WRAPPED(int, -1, scandir64,
	(const char *path, struct dirent64 ***ret, int (*filter)(const struct dirent64 *),
	 int (*compare)(const struct dirent64 **, const struct dirent64 **)),
	path, ret, filter, compare)
WRAPPED(char *, NULL, realpath, (const char *path, char *resolved), path, resolved)
WRAPPED(int, -1, vasprintf, (char **ret, const char *format, va_list ap), ret, format, ap)
WRAPPED(int, -1, __vasprintf_chk, (char **ret, int flag, const char *format, va_list ap), ret, flag,
	format, ap)

#define WRAPPED_ASPRINTF(name, v, parameters, ...)                                                 \
	int name parameters                                                                        \
	{                                                                                          \
		bool outermost = !state.inside;                                                    \
		va_list ap;                                                                        \
		int n;                                                                             \
                                                                                                   \
		if (FAILS())                                                                       \
			return -1;                                                                 \
		state.inside = true;                                                               \
		va_start(ap, format);                                                              \
		n = v(__VA_ARGS__, ap);                                                            \
		va_end(ap);                                                                        \
		if (outermost)                                                                     \
			state.inside = false;                                                      \
		return n;                                                                          \
	}

WRAPPED_ASPRINTF(asprintf, vasprintf, (char **ret, const char *format, ...), ret, format)
WRAPPED_ASPRINTF(__asprintf_chk, __vasprintf_chk, (char **ret, int flag, const char *format, ...),
		 ret, flag, format)
