import { randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Document, isMap } from 'yaml'
import { formatProblem } from '../../config/config-problem.ts'
import { readYaml } from '../../config/yaml-source.ts'
import { GatewayError } from '../../errors.ts'
import { describeSystemError } from '../../identity/io/server-identity.ts'
import { FileLockedError, type ReplaceFileOptions, replaceFile } from '../../io/replace-file.ts'
import { toBase32 } from '../base32.ts'
import { formatPasswordRecord, type PasswordRecord } from '../password-record.ts'
import { isUsersFileName, readUsers, type UsersTable } from '../users.ts'

// The users file is written by the program and by hand; what people wrote into it (comments, order) stays.

/** Reads a users file. Mistakes in it are `problems`. @throws GatewayError when it can't be read */
export async function readUsersFile(file: string): Promise<UsersTable> {
  return readUsers(readYaml(await readText(file), file))
}

/** How long to wait for another program that changes the file. */
export type UsersFileOptions = Pick<ReplaceFileOptions, 'lockWaitMs'>

/** What a new user starts with. */
export interface NewUser {
  readonly name: string
  readonly password: PasswordRecord
  readonly groups?: readonly string[]
  /** Whether the user gets a secret for one-time codes. */
  readonly otp?: boolean
}

/**
 * Adds a user; the file is made when it is missing.
 *
 * @returns the new secret of one-time codes in base32, with `otp`
 * @throws GatewayError when the name can't be used or is taken
 */
export async function addUser(
  file: string,
  user: NewUser,
  options: UsersFileOptions = {},
): Promise<{ readonly otpSecret: string | undefined }> {
  if (!isUsersFileName(user.name)) {
    throw failure(
      `'${user.name}' is not a user name; use 1 to 64 of A-Z a-z 0-9 . _ @ + -, the first a letter or digit`,
    )
  }
  const otpSecret = user.otp ? toBase32(randomBytes(20)) : undefined
  await edit(file, true, options, document => {
    if (document.has(user.name)) {
      throw failure(`${file} has a user '${user.name}' already; change the password with: twinbore user set-password`)
    }
    const entry = {
      password: formatPasswordRecord(user.password),
      ...(otpSecret === undefined ? {} : { otp: { secret: otpSecret } }),
      ...(user.groups && user.groups.length > 0 ? { groups: [...user.groups] } : {}),
    }
    document.set(user.name, document.createNode(entry))
  })
  return { otpSecret }
}

/** Removes a user. @throws GatewayError when there is none of this name */
export async function removeUser(file: string, name: string, options: UsersFileOptions = {}): Promise<void> {
  await edit(file, false, options, document => {
    if (!document.delete(name)) throw failure(`${file} has no user '${name}'`)
  })
}

/** Gives a user another password. @throws GatewayError when there is no such user */
export async function setPassword(
  file: string,
  name: string,
  password: PasswordRecord,
  options: UsersFileOptions = {},
): Promise<void> {
  await edit(file, false, options, document => {
    if (!document.has(name)) throw failure(`${file} has no user '${name}'; add one with: twinbore user add`)
    document.setIn([name, 'password'], formatPasswordRecord(password))
  })
}

async function edit(
  file: string,
  create: boolean,
  options: UsersFileOptions,
  change: (document: Document) => void,
): Promise<void> {
  try {
    if (create) await mkdir(dirname(resolve(file)), { recursive: true, mode: 0o700 })
    await replaceFile(file, { mode: 0o600, ...options }, async () =>
      changed(await readText(file, create), file, change),
    )
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause
    if (cause instanceof FileLockedError) {
      throw failure(`${file} is being changed by another program; if it is not, remove '${cause.lock}'`, cause)
    }
    throw failure(`'${file}' can't be written: ${describeSystemError(cause)}`, cause)
  }
}

function changed(before: string, file: string, change: (document: Document) => void): string {
  const yaml = readYaml(before, file)
  const { problems } = readUsers(yaml)
  // A file with a mistake is not rewritten: what the mistake meant would be lost.
  if (problems.length > 0) throw failure(problems.map(formatProblem).join('\n'))
  const { document } = yaml
  if (!isMap(document.contents)) document.contents = document.createNode({})
  change(document)
  const text = document.toString({ lineWidth: 0 })
  return text === '{}\n' ? '' : text
}

async function readText(file: string, missingIsEmpty = false): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    if (missingIsEmpty && (cause as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw failure(`'${file}' can't be read: ${describeSystemError(cause)}`, cause)
  }
}

function failure(message: string, cause?: unknown): GatewayError {
  return new GatewayError('ERR_GATEWAY_USERS_FILE', message, { cause })
}
