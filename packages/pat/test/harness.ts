// A translator with packets in and out as plain bytes, a seeded generator and a clock that the test turns.
import { type DropReason, dropReasonName, ipVersion, PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { type PatOptions, type PatOutput, Translator } from '../src/index.ts'

export const client = '10.8.0.2'
export const neighbour = '10.8.0.3'
export const outside = '203.0.113.7'
export const server = '198.51.100.10'
export const router = '192.0.2.1'
export const client6 = 'fd00:8::2'
export const outside6 = '2001:db8:1::7'
export const server6 = '2001:db8:ff::10'
export const router6 = '2001:db8:ee::1'

/** What became of a packet: its bytes, `'taken'`, or why it was dropped. */
export type Fate = Uint8Array | string

export class Harness {
  readonly translator: Translator
  now = 1_000_000
  readonly outputs: PatOutput[] = []
  private readonly batch = new PacketBatch({ capacity: 1, slotBytes: 65_600 })

  constructor(options: Partial<PatOptions> = {}) {
    this.translator = new Translator({ random: seededRandom(1), outsideAddresses: [outside, outside6], ...options })
  }

  out(packet: Uint8Array): Fate {
    return this.translate(packet, 'translateOutbound')
  }

  in(packet: Uint8Array): Fate {
    return this.translate(packet, 'translateInbound')
  }

  /** Like `out`, for packets that must pass. */
  sent(packet: Uint8Array): Uint8Array {
    return passed(this.out(packet))
  }

  received(packet: Uint8Array): Uint8Array {
    return passed(this.in(packet))
  }

  /** Moves time and serves every deadline on the way. */
  advance(ms: number): void {
    const end = this.now + ms
    for (;;) {
      const { deadline } = this.translator
      if (deadline === undefined || deadline > end) break
      this.now = Math.max(this.now, deadline)
      this.translator.handleDeadline(this.now)
      this.drain()
    }
    this.now = end
    this.translator.handleDeadline(end)
    this.drain()
  }

  /** Packets that the translator made, since the last call. */
  packets(direction: 'inbound' | 'outbound'): Uint8Array[] {
    const result: Uint8Array[] = []
    for (let i = 0; i < this.outputs.length; ) {
      const output = this.outputs[i]!
      if (output.type === 'packet' && output.direction === direction) {
        result.push(output.bytes)
        this.outputs.splice(i, 1)
      } else i++
    }
    return result
  }

  private translate(packet: Uint8Array, stage: 'translateOutbound' | 'translateInbound'): Fate {
    const { batch } = this
    batch.reset()
    batch.drops.fill(0)
    batch.push(packet, 42)
    this.translator[stage](batch, this.now)
    this.drain()
    if (batch.owners[0] !== 42) throw new Error('owners must be left alone')
    if (batch.verdicts[0] === Verdict.divert) return 'taken'
    if (batch.verdicts[0] === Verdict.forward) return batch.packet(0).slice()
    return dropReasonName(batch.drops.findIndex(count => count > 0) as DropReason)
  }

  private drain(): void {
    for (let output = this.translator.poll(); output; output = this.translator.poll()) this.outputs.push(output)
  }
}

function passed(fate: Fate): Uint8Array {
  if (typeof fate === 'string') throw new Error(`not forwarded: ${fate}`)
  return fate
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** Whether bytes occur anywhere in a packet. */
export function contains(packet: Uint8Array, needle: Uint8Array): boolean {
  return Buffer.from(packet).indexOf(needle) !== -1
}

export { hex, ipVersion }
