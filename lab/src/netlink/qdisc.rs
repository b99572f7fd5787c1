//! Queueing disciplines (tc(8)): a token bucket filter, with which tests make a link slow.

use super::Netlink;
use crate::LabError;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption};

// linux/pkt_sched.h
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_BURST: u16 = 6;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// The parameters of a token bucket filter (tc-tbf(8)), which limits the rate of a device
/// and queues what exceeds it.
#[derive(Clone, Copy, Debug)]
pub struct Tbf {
    /// The rate in bytes a second.
    pub rate: u32,
    /// The size of the bucket in bytes: how many bytes may pass at once. At least the size of a frame.
    pub burst: u32,
    /// The size of the queue in bytes. Frames beyond it are dropped.
    pub limit: u32,
}

impl Netlink {
    /// Makes a token bucket filter the root queueing discipline of the device with this interface index.
    ///
    /// # Errors
    /// There is no such device, the kernel has no `tbf`, or the process lacks `CAP_NET_ADMIN`.
    pub fn set_root_tbf(&mut self, index: u32, tbf: Tbf) -> Result<(), LabError> {
        let mut message = root_message(index);
        message.header.handle = TcHandle { major: 1, minor: 0 };
        message.attributes.push(TcAttribute::Kind("tbf".to_owned()));
        let option = |kind, bytes| TcOption::Other(DefaultNla::new(kind, bytes));
        message.attributes.push(TcAttribute::Options(vec![
            option(TCA_TBF_PARMS, tbf_parameters(tbf)),
            option(TCA_TBF_BURST, tbf.burst.to_ne_bytes().to_vec()),
        ]));
        Ok(self.request(
            || format!("set tbf as queueing discipline of interface {index}"),
            RouteNetlinkMessage::NewQueueDiscipline(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )?)
    }

    /// Removes the root queueing discipline of the device with this interface index, which
    /// then has the default one.
    ///
    /// # Errors
    /// There is no such device, the device has the default one already, or the process lacks `CAP_NET_ADMIN`.
    pub fn delete_root_qdisc(&mut self, index: u32) -> Result<(), LabError> {
        Ok(self.request(
            || format!("delete the queueing discipline of interface {index}"),
            RouteNetlinkMessage::DelQueueDiscipline(root_message(index)),
            0,
        )?)
    }
}

fn root_message(index: u32) -> TcMessage {
    TcMessage::from_parts(
        TcHeader { index: index as i32, parent: TcHandle::ROOT, ..TcHeader::default() },
        Vec::new(),
    )
}

/// The bytes of `struct tc_tbf_qopt`: rate, peak rate, limit, buffer and mtu. The buffer is zero, because the
/// burst attribute gives it.
fn tbf_parameters(tbf: Tbf) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(36);
    // struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate.
    bytes.extend([0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0]);
    bytes.extend(tbf.rate.to_ne_bytes());
    bytes.extend([0; 12]);
    bytes.extend(tbf.limit.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tbf_parameters_have_the_layout_of_the_kernel() {
        let bytes = tbf_parameters(Tbf { rate: 0x0102_0304, burst: 9, limit: 0x0a0b_0c0d });
        assert_eq!(bytes.len(), 36);
        assert_eq!(bytes[1], TC_LINKLAYER_ETHERNET);
        assert_eq!(bytes[8..12], 0x0102_0304u32.to_ne_bytes());
        assert_eq!(bytes[24..28], 0x0a0b_0c0du32.to_ne_bytes());
    }
}
