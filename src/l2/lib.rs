//! `l2`: see ../../../shared/design.md section 2.
