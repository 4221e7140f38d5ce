// Two TUNs, `near` and `far`, and between them what a tunnel does: super-packets are cut into packets, packets are joined into
// super-packets. A line on standard input asks for the counters. Argument: what of this is wanted, as JSON.
import { createInterface } from 'node:readline'
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { openQueues, type TunDevice } from '../../src/io/open-tun.ts'
import { coalescePackets } from '../../src/offload/coalesce.ts'
import { Segmenter } from '../../src/offload/segmenter.ts'
import type { TunOffload } from '../../src/options.ts'

export interface BridgeOptions {
  readonly near: TunOffload
  readonly far: TunOffload
  /** Queues of each device. 0 opens devices that can have only one. */
  readonly queues?: number
  /** Whether what was read is written as it is. */
  readonly asItIs?: boolean
}

const options = JSON.parse(process.argv[2]!) as BridgeOptions
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)

const open = (name: 'near' | 'far'): TunDevice[] => openQueues({ name, mtu: 1400 }, options.queues ?? 0, options[name])
const near = open('near')
const far = open('far')

function carry(from: TunDevice, to: TunDevice): void {
  const read = new PacketBatch({ capacity: 16, slotBytes: from.maxPacketBytes })
  const packets = new PacketBatch({ capacity: 256, slotBytes: 1400 })
  const segmenter = new Segmenter()
  const flush = (): void => {
    // Also for a device that does not take them: it cuts them again.
    coalescePackets(packets, true)
    to.write(packets)
    packets.reset()
  }
  from.onReadable = () => {
    read.reset()
    from.read(read)
    if (options.asItIs) {
      to.write(read)
      return
    }
    for (let slot = 0; slot < read.count; slot++) {
      if (read.verdicts[slot] !== Verdict.forward) continue
      if (!segmenter.start(read, slot)) throw new Error('the kernel gave something that is no packet')
      while (!segmenter.fill(packets)) flush()
    }
    flush()
    const tooBig = packets.drops.reduce((total, count) => total + count, 0)
    if (tooBig > 0) say({ drops: [...packets.drops] })
  }
}

near.forEach((device, queue) => void carry(device, far[queue]!))
far.forEach((device, queue) => void carry(device, near[queue]!))

createInterface({ input: process.stdin }).on('line', () => {
  say({ stats: [...near, ...far].map(device => device.stats()) })
})
say({ ready: near.map(({ superPackets, superDatagrams }) => ({ superPackets, superDatagrams })) })
