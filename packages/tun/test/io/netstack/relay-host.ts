// Scenes for socket-relay.io.test.ts, each in a process inside the test's namespace: prints what it saw as JSON.
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { client4, client6, RelayWorld } from './relay-world.ts'

const direct = { redirect: () => undefined }

const scenes: Record<string, () => Promise<unknown>> = {
  async ping() {
    const world = new RelayWorld(direct)
    const common = { identifier: 0x1234 }
    const answers = [
      await world.ping({
        ...common,
        source: client4,
        destination: '10.44.0.1',
        sequenceNumber: 7,
        payload: Buffer.from('IPv4'),
      }),
      await world.ping({
        ...common,
        source: client6,
        destination: 'fd44::1',
        sequenceNumber: 8,
        payload: Buffer.from('IPv6'),
      }),
    ]
    return {
      canPing: world.relay.canPing,
      answers: answers.map(({ destination, identifier, sequenceNumber, payload }) => ({
        destination,
        identifier,
        sequenceNumber,
        payload: Buffer.from(payload).toString(),
      })),
      pingSockets: world.relay.stats().pingSockets,
    }
  },

  async 'no-ping'() {
    const world = new RelayWorld(direct)
    const icmp = world.nextPacket(bytes => bytes[9] === 1)
    void world.ping({
      identifier: 1,
      source: client4,
      destination: '10.44.0.1',
      sequenceNumber: 1,
      payload: Buffer.from('x'),
    })
    const packet = await icmp
    return { canPing: world.relay.canPing, refused: world.relay.stats().echoesRefused, icmp: [packet[20], packet[21]] }
  },

  async filter() {
    const world = new RelayWorld(direct)
    const open = (address: string) =>
      new Promise<ReturnType<typeof createSocket>>(resolve => {
        const socket = createSocket('udp4')
        socket.bind(0, address, () => resolve(socket))
      })
    const server = await open('10.44.0.1')
    const neighbour = await open('10.44.0.1')
    const stranger = await open('10.44.0.2')
    const flow = world.bind(client4)
    const asked = new Promise<number>(resolve => server.once('message', (_, { port }) => resolve(port)))
    world.sendDatagram(flow, { address: '10.44.0.1', port: server.address().port }, Buffer.from('question'))
    const port = await asked
    for (const [socket, text] of [
      [server, 'answer'],
      [stranger, 'from a stranger'],
      [neighbour, 'from another port'],
    ] as const) {
      await new Promise(resolve => socket.send(text, port, '10.44.0.1', resolve))
    }
    const came = () =>
      flow.outputs.flatMap(output => (output.type === 'datagram' ? `${Buffer.from(output.bytes)}` : []))
    await flow.until(() => came().length === 2)
    return { came: came(), filtered: world.relay.stats().datagramsFiltered }
  },

  async 'own-address'() {
    let accepted = () => {}
    const wasAccepted = new Promise<string>(resolve => {
      accepted = () => resolve('yes')
    })
    const server = createServer(socket => {
      socket.on('error', () => {})
      accepted()
    })
    await new Promise<void>(resolve => server.listen(0, '10.44.0.1', resolve))
    // The source of a connection to an own address is that address.
    const world = new RelayWorld({ ...direct, mayReach: (_, isOwn) => !isOwn })
    const flow = world.connect({ address: '10.44.0.1', port: (server.address() as { port: number }).port })
    await flow.until(() => flow.has('icmp-error'))
    const error = flow.outputs.find(output => output.type === 'icmp-error')
    return { kind: error?.kind, established: flow.has('flow-established'), accepted: await wasAccepted }
  },

  async 'no-route'() {
    const world = new RelayWorld(direct)
    const flow = world.connect({ address: '192.0.2.1', port: 80 })
    await flow.until(() => flow.has('icmp-error'))
    const udp = world.bind(client4)
    world.sendDatagram(udp, { address: '192.0.2.1', port: 80 }, Buffer.from('x'))
    await udp.until(() => udp.has('icmp-error'))
    const kind = (outputs: typeof flow.outputs) => outputs.find(output => output.type === 'icmp-error')?.kind
    return { kind: kind(flow.outputs), datagram: kind(udp.outputs) }
  },
}

process.stdout.write(`${JSON.stringify(await scenes[process.argv[2]!]!())}\n`, () => process.exit())
