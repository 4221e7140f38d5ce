// The intranet of the demonstration: a process in a network namespace of its own, which lasts as long as the process and
// takes the link with it. It ends with the demonstration, however that ends: its IPC channel closes then.
import { spawnSync } from 'node:child_process'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { decodeStoreMessage, encodeAnswer, MAX_CHUNKS, type StoreMessage, StoreOperation } from '../store-protocol.ts'
import type { IntranetCounts, IntranetOrder, IntranetReport } from './intranet-messages.ts'

const table = 'twinbore-demo'
const chunks = new Map<number, Uint8Array>()

process.on('disconnect', () => process.exit(0))
// Ctrl-C reaches every process of a terminal; when to end is for the demonstration to say.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('message', (order: IntranetOrder) => {
  try {
    if (order.type === 'open') open(order)
    else report({ type: 'counted', ...count() })
  } catch (error) {
    report({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
})
report({ type: 'waiting' })

function open({ device, address, prefixLength, pool }: IntranetOrder & { readonly type: 'open' }): void {
  const link = [`link set ${device} addrgenmode none`, `addr add ${address}/${prefixLength} dev ${device}`]
  run('ip', ['-batch', '-'], [...link, `link set ${device} up`].join('\n'))
  run('nft', ['-f', '-'], countingRules(pool))
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 })
  socket.on('message', (datagram, sender) => {
    const request = decodeStoreMessage(datagram)
    if (request && !request.answer)
      socket.send(encodeAnswer(request, answerTo(request, sender)), sender.port, sender.address)
  })
  socket.on('error', error => report({ type: 'failed', message: error.message }))
  socket.bind(0, address, () => report({ type: 'open', port: socket.address().port }))
}

function answerTo({ operation, index, bytes }: StoreMessage, sender: RemoteInfo): Uint8Array | undefined {
  switch (operation) {
    case StoreOperation.echo:
      return bytes
    case StoreOperation.whoAmI:
      return new TextEncoder().encode(`${sender.address}:${sender.port}`)
    case StoreOperation.put:
      if (index < MAX_CHUNKS) chunks.set(index, bytes)
      return undefined
    case StoreOperation.get:
      return chunks.get(index)
  }
}

/** Looks at every packet before anything else of the kernel does. */
function countingRules(pool: string): string {
  return `table ip ${table} {
  counter all-packets { }
  counter with-pool-address { }
  chain arriving {
    type filter hook prerouting priority -400; policy accept
    counter name all-packets
    ip saddr ${pool} counter name with-pool-address
    ip daddr ${pool} counter name with-pool-address
  }
}
`
}

function count(): IntranetCounts {
  const { nftables } = JSON.parse(run('nft', ['-j', 'list', 'counters', 'table', 'ip', table])) as {
    nftables: readonly { readonly counter?: { readonly name: string; readonly packets: number } }[]
  }
  const packetsOf = (name: string): number => {
    const found = nftables.find(({ counter }) => counter?.name === name)?.counter
    if (!found) throw new Error(`nft does not list the counter ${name}`)
    return found.packets
  }
  return { packets: packetsOf('all-packets'), packetsWithPoolAddress: packetsOf('with-pool-address') }
}

function run(program: string, args: readonly string[], input = ''): string {
  const { error, status, stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8' })
  if (error) throw error
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr.trim()}`)
  return stdout
}

function report(message: IntranetReport): void {
  process.send?.(message)
}
