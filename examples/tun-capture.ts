// Captures what crosses a packet device, for Wireshark.
//
//   npx tsx examples/tun-capture.ts [FILE] [--tun]
//
// Sends five echo requests through an in-memory pair of devices, traces each packet, loses some by (seeded) chance, and
// writes everything to a pcapng file. With --tun (as root) the device is a kernel TUN instead: ping 10.88.0.2 and look.
//
// Prints:
// memory0 out IPv4 10.88.0.1 > 10.88.0.2 icmp 36
// memory0 in IPv4 10.88.0.2 > 10.88.0.1 icmp 36
// sent 5, answered 4, lost 1
// wrote ...capture.pcapng: 9 packets, 792 bytes
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { icmpSequenceNumber, PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { icmpEchoPacket } from '@twinbore/core/testing'
import { captured, lossy, memoryPair, type PacketDevice, traced } from '@twinbore/tun'
import { openTun, wallClockNanoseconds } from '@twinbore/tun/io'

const file = process.argv.slice(2).find(word => !word.startsWith('--')) ?? join(tmpdir(), 'capture.pcapng')
const blocks: Uint8Array[] = []
const watch = (device: PacketDevice, nanoseconds: () => bigint): PacketDevice =>
  traced(
    captured(device, block => blocks.push(block), { nanoseconds }),
    console.log,
  )

if (process.argv.includes('--tun')) watchKernel()
else pingInMemory()

function pingInMemory(): void {
  const [near, far] = memoryPair()
  let time = 1_700_000_000_000_000_000n
  const tick = (): bigint => {
    time += 1_000_000n
    return time
  }
  const device = watch(near, tick)
  const peer = lossy(far, seededRandom(11), 0.2)
  const batch = new PacketBatch()
  let answered = 0
  device.onReadable = () => {
    batch.reset()
    answered += device.read(batch)
  }
  peer.onReadable = () => {
    const requests = new PacketBatch()
    peer.read(requests)
    const replies = new PacketBatch()
    for (let slot = 0; slot < requests.count; slot++) {
      if (requests.verdicts[slot] !== Verdict.forward) continue
      replies.push(echo(icmpSequenceNumber(requests.view, requests.offsets[slot]! + 20), true))
    }
    peer.write(replies)
  }
  for (let i = 0; i < 5; i++) {
    const request = new PacketBatch({ capacity: 1 })
    request.push(echo(i, false))
    device.write(request)
  }
  console.log(`sent 5, answered ${answered}, lost ${5 - answered}`)
  save()
}

function echo(sequenceNumber: number, reply: boolean): Uint8Array {
  const [source, destination] = reply ? ['10.88.0.2', '10.88.0.1'] : ['10.88.0.1', '10.88.0.2']
  const payload = new Uint8Array(8)
  return icmpEchoPacket({ source: source!, destination: destination!, identifier: 7, sequenceNumber, reply, payload })
}

function watchKernel(): void {
  const device = watch(openTun({ addresses: ['10.88.0.1/24'] }), wallClockNanoseconds)
  const batch = new PacketBatch()
  device.onReadable = () => {
    batch.reset()
    device.read(batch)
  }
  console.log(`${device.name} is up; ping 10.88.0.2, then press Control-C`)
  process.once('SIGINT', () => {
    device.close()
    save()
  })
}

function save(): void {
  const bytes = Buffer.concat(blocks)
  writeFileSync(file, bytes)
  console.log(`wrote ${file}: ${blocks.length - 1} packets, ${bytes.length} bytes`)
}
