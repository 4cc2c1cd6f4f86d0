# SPDX-License-Identifier: BSD-3-Clause
# How the sanitizer build runs: every finding ends the program with a failure. Sourced.

export ASAN_OPTIONS=abort_on_error=0:exitcode=99:detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:exitcode=99:print_stacktrace=1
export LSAN_OPTIONS=suppressions=$MQT_TOP/scripts/lib/lsan.supp:print_suppressions=0
export TSAN_OPTIONS=exitcode=99:suppressions=$MQT_TOP/scripts/lib/tsan.supp

# ThreadSanitizer of clang 14 finds its shadow memory taken where addresses are more random than it
# knows: there its programs are started with fixed ones.
tsan_wrapper=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 28 ]; then
	tsan_wrapper=(--wrapper 'setarch -R')
fi
