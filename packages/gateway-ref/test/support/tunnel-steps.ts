import type { TunnelParameters } from '@twinbore/core'
import { icmpEchoPacket } from '@twinbore/core/testing'
import { expect } from 'vitest'
import type { TunnelClient } from '../../src/client/io/tunnel-client.ts'
import type { Gateway } from '../../src/control-plane/io/gateway.ts'
import type { GatewayEvents } from '../../src/control-plane/session-facts.ts'
import type { PacketHost } from './packet-host.ts'

/** Where pings go, in the corporate network. */
export const server4 = '198.51.100.10'
export const server6 = '2001:db8::10'

/** The next event of a name that fits. */
export function next<Name extends keyof GatewayEvents>(
  gateway: Gateway,
  name: Name,
  fits: (event: Parameters<GatewayEvents[Name]>[0]) => boolean = () => true,
): Promise<Parameters<GatewayEvents[Name]>[0]> {
  return new Promise(resolve => {
    const take = (event: Parameters<GatewayEvents[Name]>[0]) => {
      if (!fits(event)) return
      gateway.off(name, take as never)
      resolve(event)
    }
    gateway.on(name, take as never)
  })
}

/** Resolves when data of a client goes by a channel. */
export function dataBy(tunnel: TunnelClient, channel: 'stream' | 'datagram'): Promise<void> {
  return new Promise(resolve => {
    if (tunnel.activeChannel === channel) resolve()
    else tunnel.on('channel-changed', ({ to }) => to === channel && resolve())
  })
}

let pings = 0

/** Pings a server over the tunnel, until an answer has come back. */
export async function ping(
  computer: PacketHost,
  parameters: TunnelParameters,
  family: 4 | 6,
  length = 64,
): Promise<void> {
  const [source, destination] =
    family === 4 ? [parameters.ipv4!.address.toString(), server4] : [parameters.ipv6!.address.toString(), server6]
  const sequenceNumber = ++pings & 0xffff
  const payload = Uint8Array.from({ length }, (_, i) => i ^ sequenceNumber)
  const answer = computer.next(
    ({ bytes, source: from, destination: to, transportAt }) =>
      from === destination && to === source && bytes[transportAt + 7] === (sequenceNumber & 0xff),
  )
  computer.send(icmpEchoPacket({ source, destination, identifier: 7, sequenceNumber, payload }))
  const { bytes, transportAt } = await answer
  expect(bytes.subarray(transportAt + 8)).toEqual(payload)
}
