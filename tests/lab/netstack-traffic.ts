// One end of the traffic between the kernel's TCP and ours. Lines of JSON on standard input tell it what to do.
//
//   netstack-traffic.ts stack gateway|client SEED CONDITIONS   our stack behind the TUN `stack0`
//   netstack-traffic.ts link SEED CONDITIONS                   two TUNs, `link0` and `link1`, and the same link between
//   netstack-traffic.ts kernel                                 the kernel's sockets
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { PacketBatch } from '@twinbore/core/packet'
import type { LinkConditions } from '@twinbore/core/testing'
import { openTun } from '@twinbore/tun/io'
import { type Order, obey, type Say, serve, servicePorts } from './netstack-behaviours.ts'
import { LinkedDevice, StackHost } from './netstack-host.ts'

const [, , role, ...args] = process.argv
const say: Say = value => void process.stdout.write(`${JSON.stringify(value)}\n`)
let open: Parameters<typeof obey>[1] = (address, port) => connect({ host: address, port, allowHalfOpen: true })

function report(error: unknown): void {
  say({ failed: String(error) })
}

if (role === 'stack') {
  const [mode, seed, conditions] = args
  const device = openTun({ name: 'stack0', mtu: 1400, addresses: ['10.88.0.1/24', 'fd88::1/64'] })
  const host = new StackHost(
    device,
    { addresses: ['10.88.0.2', 'fd88::2'], acceptAnyDestination: mode === 'gateway' },
    Number(seed),
    JSON.parse(conditions!) as Partial<LinkConditions>,
  )
  host.link.onZeroWindow = from => {
    host.link.onZeroWindow = undefined
    say({ zeroWindow: from })
  }
  host.onConnection = (flow, port) => void serve(port, flow, say).catch(report)
  open = (address, port) => host.connect(address, port)
} else if (role === 'link') {
  const [seed, conditions] = args
  const [near, far] = ['link0', 'link1'].map(name => openTun({ name, mtu: 1400 }))
  const link = new LinkedDevice(near!, Number(seed), JSON.parse(conditions!) as Partial<LinkConditions>, batch =>
    far!.write(batch),
  )
  const batch = new PacketBatch()
  far!.onReadable = () => {
    batch.reset()
    far!.read(batch)
    link.send(batch)
  }
} else {
  for (const port of servicePorts) {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: false })
    server.on('connection', socket => void serve(port, socket, say).catch(report))
    await new Promise<void>(resolve => server.listen(port, '::', resolve))
  }
}

createInterface({ input: process.stdin }).on('line', line => {
  const order = JSON.parse(line) as Order
  void obey(order, open).then(
    answer => say({ id: order.id, answer }),
    error => say({ id: order.id, failed: String(error) }),
  )
})
say({ ready: role })
