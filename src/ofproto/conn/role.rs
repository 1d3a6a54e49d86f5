//! Roles of controllers, and what each wants to be told.

use super::connection::{ConnKind, MISS_SEND_LEN_DEFAULT};
use super::out::OutKind;
use super::{Controllers, Cx};
use crate::event::ConnId;
use openflow::{
    AsyncConfig, AsyncType, Header, Message, OfpError, Role, RoleMessage, RoleReason, RoleStatus,
    SetAsync, Version, reason,
};

type Verdict = Result<(), OfpError>;

/// Reasons of OpenFlow 1.4 that "action" was split into.
const ACTION_BITS: u32 = 1 << reason::ACTION_SET | 1 << reason::GROUP | 1 << reason::PACKET_OUT;

/// The same, with "action" before 1.4 meaning all that it was split into later.
pub(crate) fn widen(mut config: AsyncConfig, version: Version) -> AsyncConfig {
    if version < Version::V14 {
        for masks in [&mut config.primary, &mut config.secondary] {
            let pin = &mut masks[AsyncType::PacketIn as usize];
            if *pin >> reason::ACTION & 1 != 0 {
                *pin |= ACTION_BITS;
            }
        }
    }
    config
}

/// Switches packets whose TTL ran out on or off.
pub(crate) fn set_invalid_ttl(config: &mut AsyncConfig, on: bool) {
    let pin = &mut config.primary[AsyncType::PacketIn as usize];
    *pin = (*pin & !(1 << reason::INVALID_TTL)) | u32::from(on) << reason::INVALID_TTL;
}

/// True when packets whose TTL ran out are sent.
pub(crate) fn invalid_ttl(config: &AsyncConfig) -> bool {
    config.wants(false, AsyncType::PacketIn, reason::INVALID_TTL)
}

impl Controllers {
    pub(crate) fn role_request(
        &mut self,
        cx: &Cx<'_>,
        to: (ConnId, &Header),
        request: RoleMessage,
    ) -> Verdict {
        if request.role != Role::NoChange {
            if let Some(generation) = request
                .generation_id
                .filter(|_| request.role != Role::Equal)
            {
                // Numbers go round: what is less than half the way ahead is newer.
                let stale = |old: u64| generation.wrapping_sub(old) > u64::MAX / 2;
                if self.generation.is_some_and(stale) {
                    return Err(OfpError::OFPRRFC_STALE);
                }
                self.generation = Some(generation);
            }
            self.set_role(cx, to.0, request.role)?;
        }
        let reply = RoleMessage {
            role: self.conn(to.0)?.role,
            generation_id: self.generation,
        };
        self.reply(cx, to, &Message::RoleReply(reply))
    }

    /// There is one primary at most: an older one becomes secondary, and is told.
    fn set_role(&mut self, cx: &Cx<'_>, id: ConnId, role: Role) -> Verdict {
        let changed = self.conn(id)?.role != role;
        let status = Message::RoleStatus(RoleStatus {
            role: Role::Secondary,
            reason: RoleReason::PrimaryRequest,
            generation_id: self.generation.unwrap_or(u64::MAX),
        });
        if role == Role::Primary && changed {
            for conn in self.conns.values_mut().filter(|c| c.role == Role::Primary) {
                conn.role = Role::Secondary;
                conn.tell(OutKind::Other, &status, cx.of.tun_table());
            }
        }
        self.conn(id)?.role = role;
        Ok(())
    }

    pub(crate) fn set_async(&mut self, id: ConnId, change: &SetAsync) -> Verdict {
        let conn = self.conn(id)?;
        let config = change.apply(&conn.async_config());
        conn.async_config = Some(widen(config, conn.version()));
        if conn.settings.kind == ConnKind::Service && conn.miss_send_len == 0 {
            conn.miss_send_len = MISS_SEND_LEN_DEFAULT;
        }
        Ok(())
    }
}
