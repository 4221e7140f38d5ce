import type { Route, RouteLookup } from '@twinbore/tun/io'
import { describe, expect, test } from 'vitest'
import { InstalledRoutes, type RouteSettings } from '../../src/client/io/installed-routes.ts'
import { LogLines } from '../support/gateway-world.ts'

/** A route table that keeps what it is told. */
class ToyRoutes implements RouteSettings {
  readonly calls: string[] = []
  readonly table = new Map<string, string>()
  readonly present = new Set<string>()
  /** Where everything leads that no route of the tunnel covers. */
  way: RouteLookup | undefined = { kind: 'unicast', device: 'eth0', gateway: '192.0.2.254' } as RouteLookup
  isHidden = false

  lookup(address: string): RouteLookup | undefined {
    const known = this.table.get(`${address}/32`)
    if (known) return { kind: 'unicast', device: known, gateway: '192.0.2.254' } as RouteLookup
    return this.isHidden ? ({ kind: 'unicast', device: 'tb0' } as RouteLookup) : this.way
  }

  addRoute({ destination, device, gateway }: Route): void {
    if (this.present.has(destination)) throw Object.assign(new Error('exists'), { errno: 'EEXIST' })
    this.calls.push(`add ${destination} ${device} ${gateway ?? ''}`.trim())
    this.table.set(destination, device!)
  }

  replaceRoute({ destination, device }: Route): void {
    this.calls.push(`replace ${destination} ${device}`)
    this.table.set(destination, device!)
    this.isHidden = true
  }

  removeRoute({ destination, device }: Route): boolean {
    this.calls.push(`remove ${destination} ${device}`)
    return this.table.delete(destination)
  }
}

function world() {
  const links = new ToyRoutes()
  const log = new LogLines()
  return { links, log, routes: new InstalledRoutes(links, 'tb0', '198.51.100.1', log) }
}

describe('routes of a tunnel', () => {
  test('stand outside first, by the way of before', () => {
    const { links, routes } = world()
    routes.apply({ tunnel: ['0.0.0.0/1', '128.0.0.0/1'], outside: ['192.168.0.0/16', '198.51.100.1/32'] })
    expect(links.calls).toEqual([
      'add 192.168.0.0/16 eth0 192.0.2.254',
      'add 198.51.100.1/32 eth0 192.0.2.254',
      'replace 0.0.0.0/1 tb0',
      'replace 128.0.0.0/1 tb0',
    ])
  })

  test('are left alone by a plan that is the same', () => {
    const { links, routes } = world()
    const plan = { tunnel: ['10.0.0.0/8'], outside: ['10.1.0.0/16'] }
    routes.apply(plan)
    links.calls.length = 0
    routes.apply(plan)
    expect(links.calls).toEqual([])
  })

  test('change from plan to plan: what comes before what goes, and a new exclude goes the way of the gateway', () => {
    const { links, routes } = world()
    routes.apply({ tunnel: ['0.0.0.0/1', '128.0.0.0/1'], outside: ['192.168.0.0/16', '198.51.100.1/32'] })
    links.calls.length = 0
    routes.apply({ tunnel: ['128.0.0.0/1', '10.0.0.0/8'], outside: ['198.51.100.1/32', '172.16.0.0/12'] })
    expect(links.calls).toEqual([
      'add 172.16.0.0/12 eth0 192.0.2.254',
      'replace 10.0.0.0/8 tb0',
      'remove 0.0.0.0/1 tb0',
      'remove 192.168.0.0/16 eth0',
    ])
  })

  test('are taken back at the end, but not those that were there before', () => {
    const { links, routes } = world()
    links.present.add('198.51.100.1/32')
    routes.apply({ tunnel: ['10.0.0.0/8'], outside: ['10.1.0.0/16', '198.51.100.1/32'] })
    links.calls.length = 0
    routes.close()
    routes.close()
    expect(links.calls).toEqual(['remove 10.1.0.0/16 eth0'])
  })

  test('outside need a way; where there is none a warning names the prefix', () => {
    const { links, routes, log } = world()
    links.way = undefined
    routes.apply({ tunnel: [], outside: ['2001:db8::/32'] })
    expect(links.calls).toEqual([])
    expect(log.lines).toMatchObject([{ level: 'warn', fields: { prefix: '2001:db8::/32' } }])
  })

  test('that the system refuses are told', () => {
    const { links, routes } = world()
    links.addRoute = () => {
      throw Object.assign(new Error('not permitted'), { errno: 'EPERM' })
    }
    expect(() => routes.apply({ tunnel: [], outside: ['10.1.0.0/16'] })).toThrow('not permitted')
  })
})
