import { TcpField } from '@twinbore/core/packet'
import type { TcpRun } from '../../tcp-run.ts'

// struct virtio_net_hdr of linux/virtio_net.h, little endian: u8 flags @0; u8 gso_type @1; u16 hdr_len @2; u16 gso_size @4;
// u16 csum_start @6; u16 csum_offset @8. All zero: a packet as it is.
export const VIRTIO_HEADER_BYTES = 10

const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1
const VIRTIO_NET_HDR_GSO_TCPV4 = 1
const VIRTIO_NET_HDR_GSO_TCPV6 = 4

/** Says how the long packet of a run is to be cut, and where its checksum belongs. */
export function writeVirtioHeader(view: DataView, run: TcpRun, version: 4 | 6): void {
  view.setUint8(0, VIRTIO_NET_HDR_F_NEEDS_CSUM)
  view.setUint8(1, version === 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6)
  view.setUint16(2, run.headerBytes, true)
  view.setUint16(4, run.segmentBytes, true)
  view.setUint16(6, run.ipHeaderBytes, true)
  view.setUint16(8, TcpField.checksum, true)
}
