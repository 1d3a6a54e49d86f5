//! `dpif`: see ../../../shared/design.md section 2.
