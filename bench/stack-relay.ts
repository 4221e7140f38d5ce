// The process that `bench -- stack` measures: a kernel TUN, the userspace stack and its sockets, without a tunnel between.
//
//   kernel TUN <-> NetStack <-> sockets of this process
//
// Arguments: the name of the TUN, its MTU, and the one address that may be reached although it is this host's own.
import { systemRandom } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import type { PacketDevice } from '@twinbore/tun'
import { openTun, SocketRelay } from '@twinbore/tun/io'

const [name, mtuText, target] = process.argv.slice(2)
const mtu = Number(mtuText)
const tun = openTun({ name: name!, mtu, offload: true })
const relay = new SocketRelay({
  stack: { random: systemRandom, mtu, superPackets: tun.superPackets },
  mayReach: address => address === target,
})

pump(tun, relay.device)
pump(relay.device, tun)
tun.onLost = error => {
  console.error(error)
  process.exit(1)
}
process.once('SIGTERM', () => {
  console.log(JSON.stringify({ tun: tun.stats(), relay: relay.stats() }))
  relay.close()
  tun.close()
})
console.log(`open ${tun.name}`)

/** One batch whenever packets wait: what is left is announced again. */
function pump(from: PacketDevice, to: PacketDevice): void {
  const batch = new PacketBatch(from.superPackets ? { slotBytes: from.maxPacketBytes, capacity: 32 } : {})
  from.onReadable = () => {
    batch.reset()
    if (from.read(batch) > 0) to.write(batch)
  }
}
