//! Why the backer refused something. Messages name the bridge, the port and what is in the way.

use dpif::DpifError;
use netdev::NetdevError;

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum BackerError {
    /// The datapath cannot be opened.
    #[error("failed to open datapath of type {type_name}: {source}")]
    Open {
        /// Type.
        type_name: String,
        /// Why.
        source: DpifError,
    },
    /// Threads cannot be started.
    #[error(transparent)]
    Threads(#[from] udpif::UdpifError),
    /// No bridge of that name.
    #[error("no such bridge: {0}")]
    NoBridge(String),
    /// A bridge of that name is there.
    #[error("bridge {0} exists already")]
    BridgeExists(String),
    /// No port of that name.
    #[error("bridge {bridge} has no port {port}")]
    NoPort {
        /// Bridge.
        bridge: String,
        /// Port.
        port: String,
    },
    /// Another port has the interface.
    #[error(
        "bridge {bridge}: interface {interface} is in port {owner_port} of bridge {owner} already"
    )]
    Claimed {
        /// Who wanted it.
        bridge: String,
        /// Interface.
        interface: String,
        /// Bridge that has it.
        owner: String,
        /// Port that has it.
        owner_port: String,
    },
    /// A port needs an interface.
    #[error("bridge {bridge}: port {port} has no interfaces")]
    NoInterfaces {
        /// Bridge.
        bridge: String,
        /// Port.
        port: String,
    },
    /// All OpenFlow port numbers are taken.
    #[error("bridge {bridge}: no OpenFlow port number left for interface {interface}")]
    NoNumber {
        /// Bridge.
        bridge: String,
        /// Interface.
        interface: String,
    },
    /// The device refused.
    #[error("bridge {bridge}: could not open network device {interface} ({source})")]
    Device {
        /// Bridge.
        bridge: String,
        /// Interface.
        interface: String,
        /// Why.
        source: Box<NetdevError>,
    },
    /// The datapath refused the port.
    #[error("bridge {bridge}: failed to add {interface} as port: {source}")]
    Port {
        /// Bridge.
        bridge: String,
        /// Interface.
        interface: String,
        /// Why.
        source: DpifError,
    },
    /// A packet could not be sent.
    #[error("bridge {bridge}: packet-out failed: {source}")]
    PacketOut {
        /// Bridge.
        bridge: String,
        /// Why.
        source: DpifError,
    },
}
