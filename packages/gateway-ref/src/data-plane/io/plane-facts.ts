import { recordProtectionSupport } from '@twinbore/dtls/io'
import type { DatagramSocket, PacketDevice } from '@twinbore/tun'
import { datagramSupport } from '@twinbore/tun/io'
import type { DataPlane } from '../data-plane.ts'
import { streamCipherSupport } from '../stream/io/stream-ciphers.ts'

/** What a data plane works with, in words for the log. */
export function planeFacts(
  { driver }: DataPlane,
  device: PacketDevice,
  socket: DatagramSocket | undefined,
): Readonly<Record<string, string>> {
  return {
    driver,
    device: device.superPackets
      ? device.superDatagrams
        ? 'super-packets, UDP too'
        : 'super-packets'
      : 'single packets',
    ...(socket && { datagrams: datagramWords(socket), records: recordProtectionSupport().kind }),
    streams: streamCipherSupport().kind,
  }
}

function datagramWords(socket: DatagramSocket): string {
  if (socket.descriptor === undefined) return 'portable'
  const { gso, gro } = datagramSupport()
  return ['batches', ...(gso ? ['GSO'] : []), ...(gro ? ['GRO'] : [])].join(', ')
}
