/* SPDX-License-Identifier: MIT */
/* All that is logged, as text, for tests that link log-capture.c and log-wrap.c. */
#pragma once

extern char logged[65536]; /* each line with LF */

/* Before each test. */
void log_capture_reset(void);
