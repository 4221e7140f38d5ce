import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hashPassword } from '../../auth/io/password-hasher.ts'
import { addUser, readUsersFile, setPassword } from '../../auth/io/users-file.ts'
import { type DevelopmentIdentity, ensureDevelopmentIdentity } from '../../identity/io/development-identity.ts'
import { replaceFile } from '../../io/replace-file.ts'

/** What a demonstration starts from: everything that a configuration would name. */
export interface DemoSetup {
  readonly identity: DevelopmentIdentity
  /** Path of the users file. */
  readonly users: string
  readonly username: string
  readonly password: string
  /** Path of the file that holds the password, for commands to copy. */
  readonly passwordFile: string
  /** Whether something was made by this call. */
  readonly created: boolean
}

const username = 'demo'

/** Makes an identity and a user with a random password in `directory`, once; later calls find them again. */
export async function ensureDemoSetup(directory: string): Promise<DemoSetup> {
  const identity = await ensureDevelopmentIdentity({ directory })
  const users = join(directory, 'users.yaml')
  const passwordFile = join(directory, 'demo-password')
  const known = await hasUser(users)
  const stored = known ? await readFile(passwordFile, 'utf8').catch(() => '') : ''
  const password = stored.trim() || randomBytes(12).toString('base64url')
  const created = stored.trim() === ''
  if (created) {
    const record = await hashPassword(password)
    if (known) await setPassword(users, username, record)
    else await addUser(users, { name: username, password: record })
    await replaceFile(passwordFile, { mode: 0o600 }, () => `${password}\n`)
  }
  return { identity, users, username, password, passwordFile, created: created || identity.created }
}

async function hasUser(file: string): Promise<boolean> {
  const table = await readUsersFile(file).catch(() => undefined)
  return table?.users.has(username) ?? false
}
