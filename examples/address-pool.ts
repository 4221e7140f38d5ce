// Leases tunnel addresses to users: the same address for who comes back, a pause before anybody else gets it, a clear
// refusal when there is none left. Time is a parameter, so that hours pass in no time.
//
//   npx tsx examples/address-pool.ts
//
// Prints:
//   192.168.77.0/29 has 5 addresses to lease: not the network, the gateway 192.168.77.1, the broadcast address
//   alice gets 192.168.77.2
//   bob gets 192.168.77.3
//   carol asks for 192.168.77.6 and gets 192.168.77.6
//   dave gets 192.168.77.4
//   erin gets 192.168.77.5
//   frank is refused: exhausted, 5 leased, 0 in quarantine
//   alice leaves; her address rests until 00:02:10
//   frank is refused: exhausted, 4 leased, 1 in quarantine
//   alice is back at 00:01:00 and gets 192.168.77.2
//   bob leaves; frank gets 192.168.77.3 at 00:03:00
//   00:30:00: the lease of erin on 192.168.77.5 has expired
//   fd77:77::/64 works alike: alice gets fd77:77::2
import { AddressPool, IpAddress, type Lease } from '@twinbore/core/address'
import { minutes, seconds } from '@twinbore/core/runtime'
import { ManualClock } from '@twinbore/core/testing'

const clock = new ManualClock()
const leases = new Map<string, Lease>()
const pool = new AddressPool({ prefix: '192.168.77.0/29', leaseMs: minutes(30), quarantineMs: seconds(120) })

const { capacity } = pool.stats()
console.log(
  `${pool.prefix} has ${capacity} addresses to lease: not the network, the gateway ${pool.gateway}, the broadcast address`,
)

// A client that had an address before asks for it.
function take(user: string, preferred?: string): string {
  const outcome = pool.take(user, clock.now(), preferred === undefined ? undefined : IpAddress.of(preferred))
  if (outcome.type === 'refused') {
    return `is refused: ${outcome.reason}, ${outcome.leased} leased, ${outcome.quarantined} in quarantine`
  }
  leases.set(user, outcome.lease)
  return `gets ${outcome.lease.address}`
}
const time = () => new Date(clock.now()).toISOString().slice(11, 19)

console.log('alice', take('alice'))
console.log('bob', take('bob'))
console.log('carol asks for 192.168.77.6 and', take('carol', '192.168.77.6'))
for (const user of ['dave', 'erin', 'frank']) console.log(user, take(user))

clock.advance(seconds(10))
pool.release(leases.get('alice')!, clock.now())
console.log(`alice leaves; her address rests until ${new Date(pool.deadline!).toISOString().slice(11, 19)}`)
console.log('frank', take('frank'))
clock.advance(seconds(50))
console.log(`alice is back at ${time()} and`, take('alice'))

pool.release(leases.get('bob')!, clock.now())
clock.advance(seconds(120))
console.log('bob leaves; frank', take('frank'), `at ${time()}`)

// Whoever is still there renews; a pool is a machine, and a lease that nobody renews is one of its outputs.
for (const user of ['alice', 'carol', 'dave', 'frank']) pool.renew(leases.get(user)!, clock.now())
pool.handleDeadline(clock.advanceTo(pool.deadline!))
for (let out = pool.poll(); out; out = pool.poll()) {
  console.log(`${time()}: the lease of ${out.lease.user} on ${out.lease.address} has expired`)
}

const ipv6 = new AddressPool({ prefix: 'fd77:77::/64' })
const outcome = ipv6.take('alice', clock.now())
if (outcome.type === 'leased') console.log(`${ipv6.prefix} works alike: alice gets ${outcome.lease.address}`)
