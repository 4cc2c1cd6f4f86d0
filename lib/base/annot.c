/* SPDX-License-Identifier: BSD-3-Clause */
/* The role objects: they are named in annotations only and hold no state. */
#include "mqtrack/annot.h"

struct mqt_role mqt_role_worker;
struct mqt_role mqt_role_control;
struct mqt_role mqt_rcu_read;
