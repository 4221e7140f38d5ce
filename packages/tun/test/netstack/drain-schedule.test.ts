import { KeyedHash, PacketBatch } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { expect, test } from 'vitest'
import { DrainSchedule } from '../../src/netstack/drain-schedule.ts'
import { netStackConfig } from '../../src/netstack/options.ts'
import { type Source, type SourceFlow, SourceTable } from '../../src/netstack/source.ts'

/** A flow with a number of packets, each of one byte: its name. */
class NamedFlow implements SourceFlow {
  isScheduled = false
  nextScheduled: SourceFlow | undefined
  private readonly name: number
  private left: number
  /** Says that it wants to send, and sends nothing. */
  isLiar = false
  asked = 0

  constructor(name: number, packets: number) {
    this.name = name
    this.left = packets
  }

  get wantsToSend(): boolean {
    return this.isLiar || this.left > 0
  }

  emit(batch: PacketBatch, _now: number, most: number): number {
    this.asked++
    let added = 0
    while (this.left > 0 && added < most && batch.push(Uint8Array.of(this.name)) !== -1) {
      this.left--
      added++
    }
    return added
  }
}

function bench(superPackets = false) {
  const random = seededRandom(1)
  const sources = new SourceTable(netStackConfig({ random, acceptAnyDestination: true }), new KeyedHash(random))
  const schedule = new DrainSchedule(() => {}, superPackets)
  const source = (n: number): Source => sources.findOrAdd(Int32Array.of(0, 0, 0xffff, n))!
  const drain = (capacity: number): string => {
    const batch = new PacketBatch({ capacity, slotBytes: 16 })
    const added = schedule.drain(batch, 0)
    expect(added).toBe(batch.count)
    return Array.from({ length: added }, (_, slot) => batch.packet(slot)[0]).join('')
  }
  return { sources, schedule, source, drain }
}

test('sources take turns of eight packets, flows of four, over batches of any size', () => {
  for (const capacity of [1000, 16, 7, 3, 1]) {
    const { schedule, source, drain } = bench()
    for (let flow = 1; flow <= 3; flow++) schedule.add(source(1), new NamedFlow(flow, 12))
    schedule.add(source(2), new NamedFlow(9, 12))
    let sent = ''
    for (let batch = drain(capacity); batch !== ''; batch = drain(capacity)) sent += batch
    expect(sent.length).toBe(48)
    // The lonely flow of the second source isn't held up by the three of the first one.
    expect(sent.slice(0, 24).split('9').length - 1).toBeGreaterThanOrEqual(8)
    if (capacity === 1000) expect(sent).toBe('111122229999999933331111999922223333111122223333')
    expect(schedule.isEmpty).toBe(true)
  }
})

test('where flows send super-packets, a turn has room for one of 64 KB, and a source has two turns', () => {
  const { schedule, source, drain } = bench(true)
  for (let flow = 1; flow <= 3; flow++) schedule.add(source(1), new NamedFlow(flow, 60))
  schedule.add(source(2), new NamedFlow(9, 60))
  const turn = (flow: number, packets: number) => `${flow}`.repeat(packets)
  const first = turn(1, 48) + turn(2, 48) + turn(9, 60)
  expect(drain(1000)).toBe(first + turn(3, 48) + turn(1, 12) + turn(2, 12) + turn(3, 12))
})

test('answers go before the flows of their source', () => {
  const { schedule, source, drain } = bench()
  schedule.add(source(1), new NamedFlow(1, 2))
  source(1).answers.push(Uint8Array.of(8), Uint8Array.of(8))
  schedule.addSource(source(1))
  expect(drain(10)).toBe('8811')
})

test('a flow that wants to send but adds nothing is asked once', () => {
  const { schedule, source, drain } = bench()
  const liar = new NamedFlow(1, 0)
  liar.isLiar = true
  schedule.add(source(1), liar)
  schedule.add(source(1), new NamedFlow(2, 6))
  expect(drain(10)).toBe('222222')
  expect([liar.asked, schedule.isEmpty]).toEqual([1, true])
})

test('a source that is gone is passed over, and so is what is added to it', () => {
  const { sources, schedule, source, drain } = bench()
  const first = source(1)
  schedule.add(first, new NamedFlow(1, 3))
  schedule.add(source(2), new NamedFlow(2, 3))
  sources.remove(first)
  schedule.add(first, new NamedFlow(1, 3))
  expect(drain(10)).toBe('222')
  expect(schedule.isEmpty).toBe(true)
})

test('ten thousand sources cost one turn each', () => {
  const { schedule, drain } = bench()
  const random = seededRandom(1)
  const sources = new SourceTable(
    netStackConfig({ random, acceptAnyDestination: true, limits: { maxSources: 20_000 } }),
    new KeyedHash(random),
  )
  const flows = Array.from({ length: 10_000 }, (_, i) => {
    const flow = new NamedFlow(1, 2)
    schedule.add(sources.findOrAdd(Int32Array.of(0, 0, 0xffff, i + 1))!, flow)
    return flow
  })
  let sent = 0
  for (let batch = drain(64); batch !== ''; batch = drain(64)) sent += batch.length
  expect(sent).toBe(20_000)
  expect(flows.every(flow => flow.asked <= 2)).toBe(true)
})
