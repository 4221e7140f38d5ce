import type { DatagramSocket, PacketDevice } from '@twinbore/tun'
import { datagramSupport } from '@twinbore/tun/io'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'
import type { DataPlane } from '../data-plane.ts'
import { streamCipherSupport } from '../stream/io/stream-ciphers.ts'
import { recordKind } from './record-crypto.ts'

/** What a data plane works with, in words for the log. */
export function planeFacts(
  config: DataPlaneConfig,
  { driver, workers }: DataPlane,
  device: PacketDevice,
  socket: DatagramSocket | undefined,
): Readonly<Record<string, string | number>> {
  return {
    driver,
    ...(workers > 0 && { workers }),
    device: deviceWords(device),
    ...(socket && { datagrams: datagramWords(config, socket), records: recordKind(config.records) }),
    streams: streamWords(config),
  }
}

function deviceWords({ superPackets, superDatagrams }: PacketDevice): string {
  if (!superPackets) return 'single packets'
  return superDatagrams ? 'super-packets, UDP too' : 'super-packets'
}

function datagramWords({ offload }: DataPlaneConfig, socket: DatagramSocket): string {
  if (socket.descriptor === undefined) return 'portable'
  const { gso, gro } = datagramSupport()
  return ['batches', ...(gso && offload.gso ? ['GSO'] : []), ...(gro && offload.gro ? ['GRO'] : [])].join(', ')
}

function streamWords({ records, streams }: DataPlaneConfig): string {
  if (streams === 'node') return "Node's TLS"
  return records === 'node' ? 'node' : streamCipherSupport().kind
}
