//! Timeouts, by the names that the database has for them.

macro_rules! timers {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// What a connection may be waiting for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names say it")]
        #[repr(u8)]
        pub enum Timer { $($name,)* }

        /// All of them, with their names in the database.
        pub const TIMERS: &[(Timer, &str)] = &[$((Timer::$name, $text),)*];
    };
}

timers! {
    TcpSynSent = "tcp_syn_sent",
    TcpSynRecv = "tcp_syn_recv",
    TcpEstablished = "tcp_established",
    TcpFinWait = "tcp_fin_wait",
    TcpCloseWait = "tcp_close_wait",
    TcpLastAck = "tcp_last_ack",
    TcpTimeWait = "tcp_time_wait",
    TcpClose = "tcp_close",
    TcpSynSent2 = "tcp_syn_sent2",
    TcpRetransmit = "tcp_retransmit",
    TcpUnack = "tcp_unack",
    UdpFirst = "udp_first",
    UdpSingle = "udp_single",
    UdpMultiple = "udp_multiple",
    IcmpFirst = "icmp_first",
    IcmpReply = "icmp_reply",
}

/// Timeouts in seconds, as far as they are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timers([Option<u32>; TIMERS.len()]);

impl Timers {
    /// What is said of one.
    #[must_use]
    pub const fn get(&self, timer: Timer) -> Option<u32> {
        self.0[timer as usize]
    }
    /// Says one.
    pub const fn set(&mut self, timer: Timer, seconds: u32) {
        self.0[timer as usize] = Some(seconds);
    }
    /// Says one by its name, upper or lower case; false when there is none of it.
    pub fn set_named(&mut self, name: &str, seconds: u32) -> bool {
        let found = TIMERS.iter().find(|(_, n)| n.eq_ignore_ascii_case(name));
        if let Some((timer, _)) = found {
            self.set(*timer, seconds);
        }
        found.is_some()
    }
}
