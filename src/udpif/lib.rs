//! `udpif`: see ../../../shared/design.md section 2.
