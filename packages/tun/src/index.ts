// Packet devices and datagram sockets: the contracts, in reading order. What opens real ones is in `@twinbore/tun/io`.

export type { DatagramSendError, DatagramSocket, DatagramSocketStats } from './datagram-socket.ts'
export { type Endpoint, EndpointTable, type EndpointTableOptions } from './endpoint-table.ts'
export { TunError, type TunErrorCode } from './errors.ts'
export type { PacketDevice, PacketDeviceStats } from './packet-device.ts'
