// Conversations for the differential test of TCP: what a peer sends, step by step, chosen by a seed. Numbers are relative,
// so that the same conversation can be had with two stacks that chose different initial sequence numbers.
import { TcpFlag } from '@twinbore/core/packet'
import { type Random, randomBelow, seededRandom } from '@twinbore/core/runtime'

export interface SynOptions {
  readonly mss: number | undefined
  readonly windowScale: number | undefined
  readonly sack: boolean
  readonly timestamps: boolean
}

export interface SegmentStep {
  readonly kind: 'segment'
  /** What the segment is meant to be. */
  readonly name: string
  /** Position of its first byte in our stream; 0 is the byte behind our SYN. */
  readonly at: number
  readonly length: number
  /** A sum of `TcpFlag` values. */
  readonly flags: number
  /** Position in their stream that is acknowledged, as an offset to all that they sent. */
  readonly ack: number
  readonly window: number
  /** Our timestamp clock. Multiples of 10: Linux forgives a timestamp that is old by 1. */
  readonly timestamp: number
  readonly badChecksum: boolean
  /** Whether nothing that it says may be believed. */
  readonly refused: boolean
  /** Options of no known kind, in front of the others. */
  readonly oddOptions: boolean
}

export type Step = SegmentStep | { readonly kind: 'app-end' | 'app-abort'; readonly name: string }

export interface Conversation {
  readonly seed: number
  readonly family: 4 | 6
  /** Whether the application under test reads what comes. */
  readonly reads: boolean
  readonly peerInitial: number
  readonly syn: SynOptions
  /** Bytes that the application under test sends first; we acknowledge all of them before the first burst. */
  readonly greeting: number
  readonly bursts: readonly (readonly Step[])[]
}

/** Where our stream may reach: inside every first window. */
const span = 24_000
const maxSteps = 60

/** The conversation of a seed. */
export function conversation(seed: number): Conversation {
  return new Writer(seed).write()
}

/** One line for each step, for a failing seed. */
export function describeConversation({ family, reads, peerInitial, syn, greeting, bursts }: Conversation): string {
  const head = `IPv${family}, ${reads ? 'reads everything' : 'reads nothing'}, our ISN ${peerInitial}, SYN ${JSON.stringify(syn)}, greeting ${greeting}`
  return [head, ...bursts.flatMap((steps, i) => [`burst ${i}`, ...steps.map(step => `  ${describeStep(step)}`)])].join(
    '\n',
  )
}

export function describeStep(step: Step): string {
  if (step.kind !== 'segment') return step.name
  const flags = Object.entries(TcpFlag).flatMap(([name, bit]) => (step.flags & bit ? [name] : []))
  const extras = `${step.badChecksum ? ' bad checksum' : ''}${step.oddOptions ? ' odd options' : ''}`
  const end = step.at + step.length
  return `${step.name}: ${flags.join('+') || 'no flags'} ${step.at}..${end} ack ${step.ack} win ${step.window} ts ${step.timestamp}${extras}`
}

class Writer {
  private readonly random: Random
  private readonly seed: number
  private timestamp = 1000
  /** What was sent and arrived: disjoint, sorted. The first begins at 0 as soon as the stream did. */
  private readonly covered: [number, number][] = []
  private fin = -1
  private appEnded = false
  private gone = false
  private timestamps = false

  constructor(seed: number) {
    this.seed = seed
    this.random = seededRandom(seed)
  }

  write(): Conversation {
    const pick = <T>(values: readonly T[]): T => values[this.below(values.length)]!
    const family = this.chance(0.5) ? 4 : 6
    const mss = pick([undefined, 88, 536, 1360, 1360])
    const windowScale = pick([undefined, this.below(15)])
    const syn = { mss, windowScale, sack: this.chance(0.8), timestamps: this.chance(0.6) }
    this.timestamps = syn.timestamps
    const peerInitial = this.chance(0.3) ? (0x1_0000_0000 - this.below(20_000)) >>> 0 : this.random.uint32()
    const reads = this.chance(0.5)
    const greeting = this.chance(0.5) ? 0 : 1 + this.below(6000)
    const bursts: Step[][] = []
    let left = 10 + this.below(maxSteps - 10)
    while (left > 0) {
      const count = Math.min(left, 1 + this.below(8))
      bursts.push(Array.from({ length: count }, () => this.step(greeting)))
      left -= count
    }
    return { seed: this.seed, family, reads, peerInitial, syn, greeting, bursts }
  }

  private step(greeting: number): Step {
    if (this.chance(0.7)) return this.data()
    const { next } = this
    const length = 1 + this.below(500)
    const far = 0x1000_0000 + this.below(0x1000_0000)
    const near = next + 1 + this.below(8000)
    // Linux also takes a RST one before the exact number, once the peer ended.
    const old = next - 2 - this.below(Math.max(1, Math.min(next, 8000)))
    const { rst, ack, fin } = TcpFlag
    const choices: [number, () => Step][] = [
      [3, () => this.segment('old ACK with data', { ...this.inOrder(), ack: -this.below(greeting + 1) })],
      [2, () => this.segment('old ACK', { ack: -this.below(greeting + 1) })],
      [2, () => this.dropped('ACK of what was not sent', { at: next, length, ack: 1 + this.below(1_000_000) })],
      [1, () => this.segment('ACK from long ago', { ack: -0x1000_0000 - this.below(0x1000_0000) })],
      [3, () => this.segment('window update', { window: this.below(65_536) })],
      [2, () => this.segment('ACK in the window', { at: near })],
      [2, () => this.dropped('data far beyond the window', { at: far, length })],
      [2, () => this.dropped('data from far before', { at: -far, length })],
      [3, () => this.dropped('bad checksum', { at: next, length, badChecksum: true })],
      [2, () => this.dropped('no ACK flag', { at: next, length, flags: 0 })],
      [3, () => this.paws('old timestamp with data', length)],
      [1, () => this.paws('old timestamp alone', 0)],
      [2, () => this.segment('keep-alive', { at: next - 1 })],
      [2, () => this.segment('keep-alive with a byte', { at: next - 1, length: 1 })],
      [1, () => this.dropped('SYN in the window', { at: near, flags: TcpFlag.syn })],
      [1, () => this.dropped('SYN at the exact number', { at: next, flags: TcpFlag.syn })],
      [1, () => this.dropped('SYN far away', { at: far, flags: TcpFlag.syn })],
      [1, () => this.dropped('SYN again', { at: -1, flags: TcpFlag.syn })],
      [1, () => this.dropped('SYN-ACK in the window', { at: near, flags: TcpFlag.syn | ack })],
      [1, () => this.dropped('RST in the window', { at: near, flags: rst | (this.chance(0.5) ? ack : 0) })],
      [1, () => this.dropped('RST from before', { at: old, flags: rst })],
      [1, () => this.dropped('RST far away', { at: far, flags: rst })],
      [1, () => this.finish()],
      [1, () => this.segment('FIN again', this.fin === -1 ? {} : { at: this.fin, flags: fin | ack })],
      [0.3, () => this.reset()],
      [0.7, () => this.appEnds()],
      [0.15, () => this.app('app-abort')],
    ]
    const total = choices.reduce((sum, [weight]) => sum + weight, 0)
    let at = (this.random.uint32() / 0x1_0000_0000) * total
    for (const [weight, make] of choices) {
      at -= weight
      if (at < 0) return make()
    }
    return this.data()
  }

  /** The position behind what is in order, FIN included. */
  private get next(): number {
    const end = this.covered[0]?.[0] === 0 ? this.covered[0][1] : 0
    return end === this.fin ? end + 1 : end
  }

  private inOrder(): { at: number; length: number } {
    return { at: this.next, length: Math.min(this.room(this.next), 1 + this.below(1300)) }
  }

  private data(): Step {
    const { next } = this
    const edge = this.covered.at(-1)?.[1] ?? 0
    switch (this.below(8)) {
      case 0:
      case 1:
      case 2:
        return this.segment('in order', this.inOrder())
      case 3: {
        const at = Math.min(span, edge + 1 + this.below(1500))
        return this.segment('behind a gap', { at, length: Math.min(this.room(at), 1 + this.below(1300)) })
      }
      case 4: {
        const at = Math.max(0, next - this.below(2000))
        return this.segment('around the edge', { at, length: Math.min(this.room(at), 1 + this.below(1400)) })
      }
      case 5: {
        const [from, to] = this.covered[this.below(Math.max(1, this.covered.length))] ?? [0, 0]
        const at = from + this.below(Math.max(1, to - from))
        return this.segment('again', { at, length: Math.min(this.room(at), 1 + this.below(Math.max(1, to - at))) })
      }
      case 6: {
        const gap = this.covered.length < 2 ? 0 : this.below(this.covered.length - 1)
        const at = this.covered[gap]?.[1] ?? 0
        const end = this.covered[gap + 1]?.[0] ?? at + 500
        return this.segment('fills a gap', { at, length: Math.min(this.room(at), end - at, 1300) })
      }
      default: {
        const at = this.below(edge + 500)
        return this.segment('anywhere', { at, length: Math.min(this.room(at), 1 + this.below(1300)) })
      }
    }
  }

  private finish(): Step {
    if (this.fin !== -1) return this.data()
    const edge = this.covered.at(-1)?.[1] ?? 0
    const at = edge + (this.chance(0.3) ? 1 + this.below(600) : 0)
    const length = Math.min(this.room(at), this.below(3) * this.below(400))
    this.fin = at + length
    return this.segment('FIN', { at, length, flags: TcpFlag.fin | TcpFlag.ack })
  }

  private reset(): Step {
    const step = this.segment('RST at the exact number', { flags: TcpFlag.rst })
    this.gone = true
    return step
  }

  private appEnds(): Step {
    if (this.appEnded || this.gone) return this.data()
    this.appEnded = true
    return this.app('app-end')
  }

  private app(kind: 'app-end' | 'app-abort'): Step {
    if (kind === 'app-abort') {
      if (this.appEnded || this.gone) return this.data()
      this.gone = true
    }
    return { kind, name: kind === 'app-end' ? 'the application ends its half' : 'the application gives up' }
  }

  private paws(name: string, length: number): Step {
    if (!this.timestamps) return this.data()
    return this.dropped(name, { at: this.next, length }, this.timestamp - 10 * (2 + this.below(0x400_0000)))
  }

  /** A segment whose data is not to be taken. */
  private dropped(name: string, fields: Partial<SegmentStep>, timestamp?: number): Step {
    const step = this.segment(name, { ...fields, refused: true }, false)
    return timestamp === undefined ? step : { ...step, timestamp }
  }

  private segment(name: string, fields: Partial<SegmentStep>, counts = true): SegmentStep {
    this.timestamp += 10 * (1 + this.below(5))
    const step: SegmentStep = {
      kind: 'segment',
      name,
      at: this.next,
      length: 0,
      flags: TcpFlag.ack,
      ack: 0,
      window: 65_535,
      timestamp: this.timestamp,
      badChecksum: false,
      refused: false,
      oddOptions: this.chance(0.05),
      ...fields,
    }
    if (counts && step.length > 0) this.cover(step.at, step.at + step.length)
    return step
  }

  private cover(start: number, end: number): void {
    const rest = this.covered.filter(([from, to]) => to < start || from > end)
    const joined = this.covered.filter(range => !rest.includes(range))
    rest.push([Math.min(start, ...joined.map(([from]) => from)), Math.max(end, ...joined.map(([, to]) => to))])
    this.covered.splice(0, this.covered.length, ...rest.sort((a, b) => a[0] - b[0]))
  }

  /** How much data may come from a position on. */
  private room(at: number): number {
    return Math.max(0, (this.fin === -1 ? span + 2000 : this.fin) - at)
  }

  private below(bound: number): number {
    return randomBelow(this.random, bound)
  }

  private chance(probability: number): boolean {
    return this.random.uint32() < probability * 0x1_0000_0000
  }
}
