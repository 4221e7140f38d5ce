import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { PacketMemory } from '@twinbore/core/packet'
import { recordProtectionSupport } from '@twinbore/dtls/io'
import { DescriptorWait, datagramSupport, tunSupport } from '@twinbore/tun/io'
import type { ListenConfig } from '../../config/gateway-config.ts'
import { streamCipherSupport } from '../../data-plane/stream/io/stream-ciphers.ts'
import { runNft } from '../../egress/io/nft.ts'
import type { HostFacts } from '../findings.ts'

/** Finds out what this host offers. Nothing that it tries stays: an interface and sockets live for the time of the call. */
export async function examineHost(listen: ListenConfig | undefined, withDatagrams: boolean): Promise<HostFacts> {
  const ports = listen && listen.port !== 0 ? [portFact('TCP', listen, tryTcp)] : []
  if (listen && listen.port !== 0 && withDatagrams) ports.push(portFact('UDP', listen, tryUdp))
  return {
    ffi: complaintOf(() => new DescriptorWait([])),
    tun: tunSupport(),
    datagrams: datagramSupport(),
    records: recordProtectionSupport(),
    streams: streamCipherSupport(),
    checksums: PacketMemory.obstacle(),
    nft: await nftComplaint(),
    ports: await Promise.all(ports),
  }
}

function complaintOf(attempt: () => unknown): string | undefined {
  try {
    attempt()
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

async function nftComplaint(): Promise<string | undefined> {
  try {
    const { ok, complaint } = await runNft(['list', 'tables'])
    return ok ? undefined : `nft can't be used: ${complaint}`
  } catch (error) {
    return messageOf(error)
  }
}

async function portFact(
  protocol: string,
  listen: ListenConfig,
  attempt: (listen: ListenConfig) => Promise<void>,
): Promise<HostFacts['ports'][number]> {
  const name = `${protocol} ${listen.port}`
  try {
    await attempt(listen)
    return { name, obstacle: undefined }
  } catch (error) {
    return { name, obstacle: messageOf(error) }
  }
}

function tryTcp({ address, port }: ListenConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host: address, port }, () => server.close(() => resolve()))
  })
}

function tryUdp({ address, port }: ListenConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.once('error', error => {
      socket.close()
      reject(error)
    })
    socket.bind({ address, port }, () => socket.close(resolve))
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
