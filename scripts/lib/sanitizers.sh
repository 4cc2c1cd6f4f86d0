# SPDX-License-Identifier: BSD-3-Clause
# How the sanitizer build runs: every finding ends the program with a failure. Sourced.

export ASAN_OPTIONS=abort_on_error=0:exitcode=99:detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:exitcode=99:print_stacktrace=1
export LSAN_OPTIONS=suppressions=$MQT_TOP/scripts/lib/lsan.supp:print_suppressions=0
