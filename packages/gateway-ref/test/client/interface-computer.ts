// A computer with a tunnel's interface, for tests: runs in a network namespace and follows one line of text at a time.
//
//   in:  make JSON          the interface, as granted: { ipv4, ipv6, include, exclude, dns, mtu, gateway }
//        update JSON        the gateway grants something else
//        close
//   out: made NAME | updated | closed, and each line of the log as "log MESSAGE JSON"
import { createInterface } from 'node:readline'
import { IpAddress, Prefix } from '@twinbore/core/address'
import type { ClientInterface } from '../../src/client/client-options.ts'
import { systemInterface } from '../../src/client/io/system-interface.ts'
import { parametersOf } from '../support/parameters.ts'

interface Grant {
  readonly ipv4: string
  readonly ipv6: string
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  readonly dns: readonly string[]
  readonly mtu: number
  readonly gateway: string
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const tell = (message: string, fields?: object) => say(`log ${message} ${JSON.stringify(fields ?? {})}`)

function granted({ ipv4, ipv6, include, exclude, dns, mtu }: Grant) {
  return parametersOf({
    ipv4: { address: IpAddress.of(ipv4), netmask: IpAddress.of('255.255.255.0') },
    ipv6: { address: IpAddress.of(ipv6), prefixLength: 64 },
    routes: { include: include.map(text => Prefix.of(text)), exclude: exclude.map(text => Prefix.of(text)) },
    dns: { servers: dns.map(text => IpAddress.of(text)), searchDomains: [], splitDomains: [], tunnelAll: false },
    mtu,
  })
}

let made: ClientInterface | undefined
for await (const line of createInterface({ input: process.stdin })) {
  const [word, json = '{}'] = line.split(/ (.*)/)
  const grant = JSON.parse(json) as Grant
  if (word === 'make') {
    const make = systemInterface({ log: { debug: tell, info: tell, warn: tell, error: tell } })
    made = await make(granted(grant), grant.gateway)
    made.device.onReadable = () => {}
    say(`made ${made.device.name}`)
  } else if (word === 'update') {
    made!.update!(granted(grant), grant.mtu)
    say('updated')
  } else {
    made!.close()
    say('closed')
    break
  }
}
process.stdin.destroy()
