// An authenticator of your own: people who are in no users file log in with the password that a directory on the network knows.
// RADIUS, LDAP or SAML are joined in the same way. What throws, hangs or answers nonsense lets nobody in.
//
//   npx tsx examples/authentication-plugin.ts
//
// Prints:
//   gateway: ready
//   gateway: dora is logged in by directory, groups staff,finance
//   client: dora has 192.168.77.2
//   gateway: login of dora refused
//   client: dora with another password does not get in
//   gateway: alice is logged in by local, groups
//   client: alice has 192.168.77.3
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { CredentialsCheck } from '@twinbore/core'
import {
  type AuthenticationResult,
  type Authenticator,
  addUser,
  connect,
  createGateway,
  ensureDevelopmentIdentity,
  hashPassword,
  type Identity,
  stackInterface,
} from '@twinbore/gateway-ref'

/** Asks a web service: 200 with the groups of whoever the password is right for, 403 when it is not, 404 for strangers. */
class DirectoryAuthenticator implements Authenticator {
  readonly name = 'directory'
  readonly methods = ['password'] as const
  private readonly url: string
  constructor(url: string) {
    this.url = url
  }

  async check({ username, secret }: CredentialsCheck, signal: AbortSignal): Promise<AuthenticationResult> {
    // `signal` ends the request when the gateway does not wait any longer.
    const answer = await fetch(this.url, { method: 'POST', body: JSON.stringify({ username, secret }), signal })
    if (answer.status === 404) return { verdict: 'pass' }
    if (answer.status === 403) return { verdict: 'reject', reason: 'wrong-credentials' }
    if (!answer.ok) return { verdict: 'unavailable', reason: 'directory-error', detail: `status ${answer.status}` }
    const { groups } = (await answer.json()) as { groups: string[] }
    const identity = {
      username,
      authenticator: this.name,
      method: 'password',
      groups,
      addresses: [],
      claims: {},
    } as const
    return { verdict: 'accept', identity }
  }
}

// The directory.
const directory = createServer(async (request, response) => {
  const { username, secret } = JSON.parse(await text(request)) as { username: string; secret: string }
  if (username !== 'dora') response.writeHead(404).end()
  else if (secret !== 'open sesame') response.writeHead(403).end()
  else response.end(JSON.stringify({ groups: ['staff', 'finance'] }))
})
await once(directory.listen(0, '127.0.0.1'), 'listening')
const { port } = directory.address() as AddressInfo

const folder = await mkdtemp(join(tmpdir(), 'authentication-plugin-'))
const { certificate, key, pin } = await ensureDevelopmentIdentity({ directory: folder })
const users = join(folder, 'users.yaml')
await addUser(users, { name: 'alice', password: await hashPassword('correct horse') })
const gateway = await createGateway(
  {
    listen: { address: '127.0.0.1', port: 0 },
    tls: { certificate, key },
    pool: { ipv4: '192.168.77.0/24' },
    auth: { users },
  },
  { authenticators: [new DirectoryAuthenticator(`http://127.0.0.1:${port}/`)] },
)
gateway.on('session-established', ({ session: { identity } }) => {
  const { authenticator, groups } = identity.details as Identity
  console.log(`gateway: ${identity.username} is logged in by ${authenticator}, groups ${groups}`)
})
gateway.on('login-rejected', ({ username }) => console.log(`gateway: login of ${username} refused`))
await gateway.start()
console.log('gateway: ready')

async function logIn(username: string, password: string): Promise<void> {
  const tunnel = await connect({
    url: `https://127.0.0.1:${gateway.port}`,
    serverPin: pin,
    credentials: { username, password },
    interface: stackInterface(),
  })
  console.log(`client: ${username} has ${tunnel.parameters?.ipv4?.address}`)
  await tunnel.stop()
}
await logIn('dora', 'open sesame')
await logIn('dora', 'guess').catch(() => console.log('client: dora with another password does not get in'))
await logIn('alice', 'correct horse')

await gateway.stop()
directory.close()
await rm(folder, { recursive: true })
