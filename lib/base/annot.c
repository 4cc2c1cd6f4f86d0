/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_annot_is_empty;
