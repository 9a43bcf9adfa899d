/* SPDX-License-Identifier: MIT */
/* The part of `certs` that goes by names, see cmd-material.c. */
#pragma once

#include "ctl/ctl.h"

enum ctl_exit certs_rollback(struct ctl *ctl);
enum ctl_exit certs_authorities(struct ctl *ctl);
enum ctl_exit certs_identities(struct ctl *ctl);
enum ctl_exit certs_set_authority(struct ctl *ctl);
enum ctl_exit certs_set_identity(struct ctl *ctl);
enum ctl_exit certs_remove_authority(struct ctl *ctl);
enum ctl_exit certs_remove_identity(struct ctl *ctl);
