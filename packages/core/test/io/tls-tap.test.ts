import { once } from 'node:events'
import { encodeStreamFrame, FrameType } from '@twinbore/core'
import { StreamChannel, type StreamChannelHandlers } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { taps, transportOf } from '../../src/io/tls-tap.ts'
import { makeAuthority } from '../login/support/certificates.ts'
import { connectPair, type PairOptions } from './support/tls-pair.ts'

const authority = makeAuthority()
const identity = authority.issue('gateway', { dnsNames: ['localhost'], usage: 'serverAuth' })
afterAll(() => authority.remove())

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

const connect = (options: Partial<PairOptions> = {}) =>
  connectPair({ authority, identity, cleanups, tapped: ['server'], ...options })

function channelOf(socket: Parameters<typeof transportOf>[0], handlers: Partial<StreamChannelHandlers> = {}) {
  const channel = new StreamChannel(
    socket,
    { onPackets: () => {}, onControl: () => {}, onClosed: () => {}, ...handlers },
    { batch: new PacketBatch() },
  )
  cleanups.push(() => channel.destroy())
  return channel
}

describe('a connection that is taken over', () => {
  test('begins with what TLS had opened, what waited in the tap, and half a record', async () => {
    const { client, server } = await connect()
    // Nothing reads the server's side: records pile up on every level.
    const frames = Array.from({ length: 60 }, (_, i) => encodeStreamFrame(FrameType.data, new Uint8Array(1000).fill(i)))
    for (const frame of frames) client.write(frame)
    const raw = transportOf(server)
    while (raw.bytesRead < 40_000) await new Promise(resolve => setImmediate(resolve))
    const seen: number[] = []
    const all = new Promise<void>(resolve => {
      const channel = channelOf(server, {
        onPackets: batch => {
          for (let slot = 0; slot < batch.count; slot++) seen.push(batch.packet(slot)[0]!)
          if (seen.length === frames.length) resolve()
        },
      })
      channel.start()
      expect(channel.records).toBe('own')
    })
    await all
    expect(seen).toEqual(frames.map((_, i) => i))
  })

  test('leaves nothing of Node’s TLS behind, and the secrets are wiped', async () => {
    const { server } = await connect()
    const tap = taps.get(server)!
    const taken = tap.takeOver(server)!
    cleanups.push(() => taken.raw.destroy())
    expect(server.destroyed).toBe(true)
    expect(taken.raw.destroyed).toBe(false)
    expect(tap.takeOver(server)).toBeUndefined()
    expect(Object.values(tap.secrets as object).filter(Boolean)).toEqual([])
    await once(server, 'close')
    expect(taken.raw.destroyed).toBe(false)
    expect(taken.raw.listenerCount('data')).toBe(0)
  })

  test('says goodbye with close_notify: the peer ends in order', async () => {
    const { client, server } = await connect()
    const channel = channelOf(server)
    channel.start()
    const errors: Error[] = []
    client.on('error', error => errors.push(error))
    client.resume()
    channel.end()
    await once(client, 'end')
    if (!client.closed) await once(client, 'close')
    expect(errors).toEqual([])
  })

  test('hears the peer’s goodbye', async () => {
    const { client, server } = await connect()
    const lost = new Promise<string>(resolve => channelOf(server, { onClosed: loss => resolve(loss) }).start())
    client.end()
    expect(await lost).toBe('ended')
  })

  test('that breaks is told so by an alert', async () => {
    const { client, server, wire } = await connect()
    const lost = new Promise<string>(resolve => channelOf(server, { onClosed: loss => resolve(loss) }).start())
    const alerted = once(client, 'error') as Promise<[NodeJS.ErrnoException]>
    client.resume()
    // Somebody puts a record of its own on the wire.
    const forged = Buffer.alloc(5 + 64, 1)
    forged.set([23, 3, 3, 0, 64])
    wire.emit('data', forged)
    expect(await lost).toBe('protocol-violation')
    expect((await alerted)[0].code).toMatch(/ALERT_BAD_RECORD_MAC$/)
  })
})

describe('a connection stays with Node’s TLS', () => {
  test.each([
    ['its suite is not known', { version: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-SHA256' } as const],
    ['there is no tap', { tapped: [] } as const],
  ])('when %s', async (_, options) => {
    const { client, server } = await connect(options)
    const got = new Promise<number>(resolve => {
      const channel = channelOf(server, { onControl: type => resolve(type) })
      channel.start()
      expect(channel.records).toBe('node')
      channel.sendFrame(FrameType.dpdResponse, new Uint8Array(3))
    })
    const answer = once(client, 'data') as Promise<[Buffer]>
    client.resume()
    client.write(encodeStreamFrame(FrameType.dpdRequest, new Uint8Array(3)))
    expect(await got).toBe(FrameType.dpdRequest)
    expect(new Uint8Array((await answer)[0])).toEqual(encodeStreamFrame(FrameType.dpdResponse, new Uint8Array(3)))
  })

  test('when the secrets are not those of its records', async () => {
    const { server } = await connect()
    const tap = taps.get(server)!
    const wrong = (label: string) => Buffer.from(`${label} ${'00'.repeat(32)} ${'11'.repeat(48)}\n`)
    tap.secrets.take(wrong('SERVER_TRAFFIC_SECRET_0'))
    const channel = channelOf(server)
    channel.start()
    expect(channel.records).toBe('node')
    expect(server.destroyed).toBe(false)
  })
})

test('a line of a key log is wiped when it was read', async () => {
  const { server } = await connect()
  const line = Buffer.from(`EXPORTER_SECRET ${'00'.repeat(32)} ${'11'.repeat(48)}\n`)
  taps.get(server)!.secrets.take(line)
  expect(line.every(byte => byte === 0)).toBe(true)
})
