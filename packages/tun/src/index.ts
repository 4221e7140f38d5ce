// Packet devices and datagram sockets: the contracts, what needs no system, in reading order. Real ones: `@twinbore/tun/io`.

export type { DatagramSendError, DatagramSocket, DatagramSocketStats } from './datagram-socket.ts'
export { type CaptureOptions, captured, lossy, traced } from './device-middleware.ts'
export { type Endpoint, EndpointTable, type EndpointTableOptions } from './endpoint-table.ts'
export { TunError, type TunErrorCode } from './errors.ts'
export { MemoryDevice, type MemoryPairOptions, memoryPair } from './memory-device.ts'
export { coalescePackets } from './offload/coalesce.ts'
export { Segmenter } from './offload/segmenter.ts'
export { decodeVirtioHeader, encodeVirtioHeader, VIRTIO_HEADER_BYTES } from './offload/virtio-header.ts'
export {
  type AdoptedSocketOptions,
  type DatagramNotice,
  type DatagramSocketOptions,
  type DatagramSupport,
  defaultDatagramBufferBytes,
  defaultReceiveQueue,
  defaultSendQueueBytes,
  defaultTunMtu,
  type TunOffload,
  type TunOptions,
} from './options.ts'
export type { PacketDevice, PacketDeviceStats } from './packet-device.ts'
export { type CaptureDirection, type CaptureInterface, capturedPacket, captureHeader } from './pcapng.ts'
