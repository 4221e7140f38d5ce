import { once } from 'node:events'
import type { SecureVersion, TLSSocket } from 'node:tls'
import { encodeStreamFrame, FrameType, type StreamLoss, wrapStreamFrames } from '@twinbore/core'
import { StreamChannel, type StreamChannelOptions } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { transportOf } from '../../src/io/tls-tap.ts'
import { makeAuthority } from '../login/support/certificates.ts'
import { connectPair as connect, type Pair } from './support/tls-pair.ts'

const authority = makeAuthority()
const identity = authority.issue('gateway', { dnsNames: ['localhost'], usage: 'serverAuth' })
afterAll(() => authority.remove())

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

/** One end of a connected pair: the channel and what came out of it. */
class End {
  readonly channel: StreamChannel
  readonly socket: TLSSocket
  readonly packets: number[][] = []
  readonly controls: [number, number[]][] = []
  readonly losses: StreamLoss[] = []
  private readonly waiters: { readonly done: () => boolean; readonly resolve: () => void }[] = []

  constructor(socket: TLSSocket, options: Partial<StreamChannelOptions> = {}) {
    this.socket = socket
    const handlers = {
      onPackets: (batch: PacketBatch) => {
        for (let slot = 0; slot < batch.count; slot++) this.packets.push([...batch.packet(slot)])
        this.check()
      },
      onControl: (type: FrameType, payload: Uint8Array) => {
        this.controls.push([type, [...payload]])
        this.check()
      },
      onClosed: (loss: StreamLoss) => {
        this.losses.push(loss)
        this.check()
      },
    }
    this.channel = new StreamChannel(socket, handlers, { batch: new PacketBatch({ capacity: 8 }), ...options })
    cleanups.push(() => this.channel.destroy())
  }

  until(done: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.waiters.push({ done, resolve })
      this.check()
    })
  }

  /** Sends packets of these first bytes, each as long as said. */
  send(marks: number[], length = 100): void {
    const batch = new PacketBatch({ capacity: marks.length })
    for (const mark of marks) batch.push(new Uint8Array(length).fill(mark))
    wrapStreamFrames(batch)
    this.channel.sendBatch(batch)
  }

  private check(): void {
    for (const { done, resolve } of this.waiters) if (done()) resolve()
  }
}

const suites: [SecureVersion, string][] = [
  ['TLSv1.2', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ['TLSv1.2', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
  ['TLSv1.3', 'TLS_AES_256_GCM_SHA384'],
  ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256'],
]

describe.each(['node', 'own'] as const)('records by the hand of %s:', hand => {
  function connectPair(version: SecureVersion = 'TLSv1.3', ciphers?: string): Promise<Pair> {
    return connect({
      authority,
      identity,
      version,
      cleanups,
      tapped: hand === 'own' ? ['client', 'server'] : [],
      ...(ciphers === undefined ? {} : { ciphers }),
    })
  }

  describe.each<[SecureVersion, string]>(suites)('over %s with %s', (version, ciphers) => {
    test('each frame is one TLS record, also when many are sent at once', async () => {
      const { client, server, records } = await connectPair(version, ciphers)
      const [a, b] = [new End(client), new End(server)]
      b.channel.start()
      const before = records.lengths.length
      await a.until(() => a.channel.records !== undefined)
      expect(a.channel.records).toBe(hand)
      expect(b.channel.records).toBe(hand)
      a.send(Array.from({ length: 50 }, (_, i) => i))
      a.channel.sendFrame(FrameType.dpdRequest, Uint8Array.of(1, 2, 3, 4))
      a.send([99], 1400)
      a.channel.sendFrame(FrameType.keepalive, new Uint8Array(0))
      await b.until(() => b.packets.length === 51 && b.controls.length === 2)
      expect(b.packets.map(packet => packet[0])).toEqual([...Array.from({ length: 50 }, (_, i) => i), 99])
      expect(b.controls).toEqual([
        [FrameType.dpdRequest, [1, 2, 3, 4]],
        [FrameType.keepalive, []],
      ])
      const lengths = records.lengths.slice(before)
      expect(lengths).toHaveLength(53)
      // What a record adds is the same for all: their lengths are those of the frames.
      const overhead = Math.min(...lengths) - 8
      const frames = lengths.map(length => length - overhead).sort((x, y) => x - y)
      expect(frames).toEqual([8, 12, ...new Array(50).fill(108), 1408])
      expect(a.channel.stats().framesSent).toBe(53)
    })
  })

  describe('reading', () => {
    test('takes what came with CONNECT first, frames cut anywhere, and all packets of a long burst', async () => {
      const { client, server } = await connectPair()
      const b = new End(server)
      const stream = Buffer.concat(
        Array.from({ length: 40 }, (_, i) => encodeStreamFrame(FrameType.data, new Uint8Array(30).fill(i))),
      )
      b.channel.start(stream.subarray(0, 45))
      for (let at = 45; at < stream.length; at += 17) client.write(stream.subarray(at, at + 17))
      await b.until(() => b.packets.length === 40)
      expect(b.packets.map(packet => packet[0])).toEqual(Array.from({ length: 40 }, (_, i) => i))
    })

    test('gives packets their owner', async () => {
      const { client, server } = await connectPair()
      const owners: number[] = []
      const got = new Promise<void>(resolve => {
        const handlers = {
          onPackets: (batch: PacketBatch) => {
            owners.push(batch.owners[0]!)
            if (owners.length === 2) resolve()
          },
          onControl: () => {
            channel.owner = 8
          },
          onClosed: () => {},
        }
        const channel = new StreamChannel(server, handlers, { batch: new PacketBatch(), owner: 7 })
        cleanups.push(() => channel.destroy())
        channel.start()
      })
      client.write(encodeStreamFrame(FrameType.data, Uint8Array.of(1)))
      client.write(encodeStreamFrame(FrameType.keepalive, new Uint8Array(0)))
      client.write(encodeStreamFrame(FrameType.data, Uint8Array.of(2)))
      await got
      expect(owners).toEqual([7, 8])
    })

    test('closes on bytes that are no frames', async () => {
      const { client, server } = await connectPair()
      const b = new End(server)
      b.channel.start()
      client.write('GET / HTTP/1.1\r\n\r\n')
      await b.until(() => b.losses.length > 0)
      expect(b.losses).toEqual(['protocol-violation'])
      expect(b.channel.closed).toBe(true)
    })

    test('reads no further once it was destroyed from within a handler', async () => {
      const { client, server } = await connectPair()
      const seen: number[] = []
      const closed = new Promise<void>(resolve => transportOf(server).once('close', () => resolve()))
      const channel = new StreamChannel(
        server,
        {
          onPackets: () => seen.push(0),
          onControl: type => {
            seen.push(type)
            channel.destroy()
          },
          onClosed: () => seen.push(-1),
        },
        { batch: new PacketBatch() },
      )
      channel.start()
      const frame = encodeStreamFrame(FrameType.terminate, new Uint8Array(0))
      client.write(Buffer.concat([frame, frame, encodeStreamFrame(FrameType.data, Uint8Array.of(1))]))
      await closed
      expect(seen).toEqual([FrameType.terminate])
    })
  })

  describe('a peer that takes nothing', () => {
    test('makes data wait within bounds, the oldest dropped, and control frames arrive all', async () => {
      const { client, server, wire } = await connectPair()
      const a = new End(client, { maxQueueBytes: 50_000, maxQueueFrames: 40 })
      const b = new End(server)
      b.channel.start()
      wire.pause()
      // Until the operating system takes no more.
      for (let i = 0; a.channel.stats().queuedFrames < 40; i++) {
        a.send(new Array(20).fill(i & 0x7f), 1200)
        await new Promise(resolve => setImmediate(resolve))
      }
      const droppedBefore = a.channel.stats().framesDropped
      for (let i = 0; i < 100; i++) a.send([200], 1200)
      for (let i = 0; i < 10; i++) a.channel.sendFrame(FrameType.dpdRequest, Uint8Array.of(i))
      expect(a.channel.stats().framesDropped).toBe(droppedBefore + 100)
      expect(a.channel.stats().queuedBytes).toBeLessThanOrEqual(50_000)
      expect(a.channel.stats().queuedFrames).toBe(50)
      wire.resume()
      await b.until(
        () => b.controls.length === 10 && b.packets.at(-1)?.[0] === 200 && a.channel.stats().queuedFrames === 0,
      )
      expect(b.controls.map(([, payload]) => payload[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      const stats = a.channel.stats()
      await b.until(() => b.packets.length + 10 === stats.framesSent)
      expect(b.packets.filter(packet => packet[0] === 200)).toHaveLength(40)
    })

    test('is given up after the write time-out', async () => {
      const { client, server, wire } = await connectPair()
      const a = new End(client, { writeTimeoutMs: 100 })
      const b = new End(server)
      b.channel.start()
      wire.pause()
      for (let i = 0; a.losses.length === 0; i++) {
        a.send(new Array(50).fill(i & 0x7f), 1400)
        await new Promise(resolve => setImmediate(resolve))
      }
      expect(a.losses).toEqual(['write-timeout'])
      expect(a.channel.closed).toBe(true)
      a.send([1])
      a.channel.sendFrame(FrameType.keepalive, new Uint8Array(0))
      expect(a.channel.stats().queuedFrames).toBe(0)
    })

    test('is given up when too many control frames wait', async () => {
      const { client, wire } = await connectPair()
      const a = new End(client, { maxQueueControlFrames: 16 })
      wire.pause()
      // Until the operating system takes no more.
      for (let i = 0; a.channel.stats().queuedFrames < 40; i++) {
        a.send(new Array(20).fill(i & 0x7f), 1200)
        await new Promise(resolve => setImmediate(resolve))
      }
      for (let i = 0; i < 200 && a.losses.length === 0; i++) a.channel.sendFrame(FrameType.keepalive, new Uint8Array(0))
      expect(a.losses).toEqual(['write-timeout'])
    })
  })

  describe('the end', () => {
    test('what is queued still goes out, and neither side hears more than it should', async () => {
      const { client, server } = await connectPair()
      const [a, b] = [new End(client), new End(server)]
      a.channel.start()
      b.channel.start()
      a.send([1, 2, 3])
      a.channel.sendFrame(FrameType.disconnect, Uint8Array.of(0xb0))
      a.channel.end()
      await b.until(() => b.losses.length > 0)
      expect(b.packets.map(packet => packet[0])).toEqual([1, 2, 3])
      expect(b.controls).toEqual([[FrameType.disconnect, [0xb0]]])
      expect(b.losses).toEqual(['ended'])
      if (!client.closed) await once(client, 'close')
      expect(a.losses).toEqual([])
    })

    test('a reset is a loss, told once', async () => {
      const { client, server, wire } = await connectPair()
      const [a, b] = [new End(client), new End(server)]
      a.channel.start()
      b.channel.start()
      wire.resetAndDestroy()
      await a.until(() => a.losses.length > 0)
      expect(a.losses).toEqual(['error'])
      a.channel.destroy()
      a.channel.end()
      expect(a.losses).toEqual(['error'])
    })

    test('an end that the peer ignores is bounded', async () => {
      const { client, server, wire } = await connectPair()
      const a = new End(client, { endTimeoutMs: 50 })
      a.channel.start()
      wire.pause()
      server.pause()
      a.send(new Array(50).fill(1), 1400)
      a.channel.end()
      if (!client.closed) await once(client, 'close')
      expect(a.losses).toEqual([])
    })
  })
})
