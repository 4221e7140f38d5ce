// What a soak looks at while it runs, and what is made of it.
import { readdirSync, readFileSync } from 'node:fs'
import { type LogLine, memoryOf, statsOf, type ToldStats } from './failing-gateway.ts'
import type { LabProcess } from './lab-process.ts'

export interface Sample {
  readonly seconds: number
  /** Bytes, right after garbage was collected. */
  readonly heap: number
  readonly resident: number
  readonly descriptors: number
  readonly stats: ToldStats
}

export async function takeSample(gateway: LabProcess, since: number): Promise<Sample> {
  const { heapUsed } = await memoryOf(gateway)
  const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8')
  return {
    seconds: (performance.now() - since) / 1000,
    heap: heapUsed,
    resident: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024,
    descriptors: readdirSync(`/proc/${gateway.pid}/fd`).length,
    stats: await statsOf(gateway),
  }
}

/**
 * How much a value grew over the run, by the straight line that fits its samples best: single peaks count little. The first
 * third fills caches and tables and is left out.
 */
export function growth(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const used = samples.slice(Math.ceil(samples.length / 3))
  const mean = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0) / numbers.length
  const x = used.map(({ seconds }) => seconds)
  const y = used.map(value)
  const [mx, my] = [mean(x), mean(y)]
  const spread = mean(x.map(at => (at - mx) ** 2))
  if (spread === 0) return 0
  const slope = mean(x.map((at, n) => (at - mx) * (y[n]! - my))) / spread
  return slope * (x.at(-1)! - x[0]!)
}

/** As `growth`, for a value that jumps for a moment while a thread is replaced: by the medians of the second and the last third. */
export function growthOfMedian(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const third = Math.ceil(samples.length / 3)
  const median = (part: readonly Sample[]): number => part.map(value).sort((a, b) => a - b)[part.length >> 1]!
  return median(samples.slice(-third)) - median(samples.slice(third, -third))
}

/** What came in and neither went out nor was counted as dropped. 0 everywhere, unless something is lost without a counter. */
export interface Unexplained {
  /** Bytes of packets from clients that the device was not given, and back. */
  readonly outbound: number
  readonly inbound: number
  /** Datagrams that were received and not opened, and records that were sealed and not sent. */
  readonly received: number
  readonly sent: number
}

/** Headers of TCP over IPv4 without options, and over IPv6 with many: a super-packet has them once. */
const headerBytes = { least: 40, most: 84 }
const packetBytes = 1500
/** Datagrams of one handshake, those sent again included. */
const handshakeDatagrams = 12

/** `lines`: the whole log, for the sessions that have ended. */
export function unexplained(stats: ToldStats, lines: readonly LogLine[]): Unexplained {
  const { device, drops, list } = stats
  const [socket, datagram] = [stats.socket!, stats.datagram!]
  const closed = lines.filter(({ msg }) => msg === 'session disconnected') as unknown as typeof list
  const carried = (name: 'bytesOutbound' | 'bytesInbound') =>
    [...closed, ...list].reduce((sum, session) => sum + session[name], 0)
  const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0)
  // The counters of what was received come first.
  const refused = Object.entries(datagram).slice(0, Object.keys(datagram).indexOf('not-established'))
  const refusedRecords = refused.reduce((sum, [, count]) => sum + count, 0)
  const handshakes = (datagram['handshakes-started'] + datagram['cookies-sent']) * handshakeDatagrams
  // Sessions count whole packets, the device super-packets, whose headers are there once.
  const joined = {
    out: device.packetsWritten - device.writes,
    in: device.packetsRead - device.reads,
  }
  const droppedBytes = dropped * packetBytes
  return {
    outbound: beyond(
      carried('bytesOutbound') - device.bytesWritten,
      joined.out * headerBytes.least - droppedBytes,
      joined.out * headerBytes.most + droppedBytes,
    ),
    inbound: beyond(
      carried('bytesInbound') - device.bytesRead,
      joined.in * headerBytes.least - droppedBytes,
      joined.in * headerBytes.most + droppedBytes,
    ),
    received: beyond(socket.datagramsReceived - datagram['records-opened'] - refusedRecords, 0, dropped + handshakes),
    sent: beyond(socket.datagramsSent - datagram['records-sealed'], -dropped, handshakes),
  }
}

function beyond(value: number, least: number, most: number): number {
  return value < least ? value - least : value > most ? value - most : 0
}
