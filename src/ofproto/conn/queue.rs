//! Queues of ports: configuration and statistics.

use super::{Controllers, Cx};
use crate::event::ConnId;
use flow::OfPort;
use openflow::{
    Header, Message, OfpError, QUEUE_ALL, QueueConfig, QueueConfigReply, QueueRequest, QueueStats,
};

type Verdict = Result<(), OfpError>;

/// Collects the queues that a request names; an error when no port has such a queue.
fn collect<T>(
    cx: &mut Cx<'_>,
    request: QueueRequest,
    mut ask: impl FnMut(&mut Cx<'_>, OfPort) -> Vec<(u32, T)>,
) -> Result<Vec<T>, OfpError> {
    let ports: Vec<OfPort> = if request.port == OfPort::NONE {
        cx.of.ports().map(|p| p.desc.port_no).collect()
    } else {
        let port = cx.of.port(request.port);
        vec![port.ok_or(OfpError::OFPQOFC_BAD_PORT)?.desc.port_no]
    };
    let all = request.queue == QUEUE_ALL;
    let mut out = Vec::new();
    for port in &ports {
        let found = ask(cx, *port).into_iter();
        out.extend(
            found
                .filter(|(n, _)| all || *n == request.queue)
                .map(|(_, q)| q),
        );
    }
    // "All queues" of a port that has none is a proper question.
    if (all && !ports.is_empty()) || !out.is_empty() {
        Ok(out)
    } else {
        Err(OfpError::OFPQOFC_BAD_QUEUE)
    }
}

impl Controllers {
    pub(crate) fn queue_config(
        &mut self,
        cx: &mut Cx<'_>,
        to: (ConnId, &Header),
        request: QueueRequest,
    ) -> Verdict {
        let queues = collect(cx, request, |cx, port| {
            let config = |queue| QueueConfig {
                port,
                queue,
                min_rate: None,
                max_rate: None,
            };
            let queues = cx.provider.queues(port);
            queues.into_iter().map(|n| (n, config(n))).collect()
        })?;
        let reply = QueueConfigReply {
            port: request.port,
            queues,
        };
        self.reply(cx, to, &Message::QueueConfigReply(reply))
    }

    pub(crate) fn queue_stats(
        &mut self,
        cx: &mut Cx<'_>,
        to: (ConnId, &Header),
        request: QueueRequest,
    ) -> Verdict {
        let stats = collect(cx, request, |cx, port| {
            let stats: Vec<QueueStats> = cx.provider.queue_stats(port);
            stats.into_iter().map(|s| (s.queue, s)).collect()
        })?;
        self.reply(cx, to, &Message::QueueStatsReply(stats))
    }
}
