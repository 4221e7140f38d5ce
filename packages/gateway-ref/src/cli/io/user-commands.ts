import { hashPassword } from '../../auth/io/password-hasher.ts'
import { addUser, readUsersFile, removeUser, setPassword } from '../../auth/io/users-file.ts'
import { codeUri } from '../../auth/one-time-codes.ts'
import { formatProblem } from '../../config/config-problem.ts'
import { GatewayError } from '../../errors.ts'
import type { ProgramContext } from './program-context.ts'
import { readPasswordFile, SecretReader } from './secrets.ts'

/** What every `twinbore user` command takes. */
export interface UserCommandOptions {
  readonly users: string
  readonly passwordFile?: string | undefined
}

/** `twinbore user add NAME`: the password from a file, the terminal, or standard input. */
export async function addUserCommand(
  name: string,
  options: UserCommandOptions & { readonly otp?: boolean; readonly group?: readonly string[] },
  context: ProgramContext,
): Promise<void> {
  const password = await hashPassword(await newPassword(name, options, context))
  const groups = options.group ?? []
  const { otpSecret } = await addUser(options.users, { name, password, groups, otp: options.otp ?? false })
  context.stdout.write(`user '${name}' added to ${options.users}\n`)
  if (otpSecret !== undefined) {
    context.stdout.write(`one-time codes: scan or type this into an authenticator app, it is not shown again\n`)
    context.stdout.write(`${codeUri(name, otpSecret, 'Twinbore')}\n`)
  }
}

/** `twinbore user set-password NAME`. */
export async function setPasswordCommand(
  name: string,
  options: UserCommandOptions,
  context: ProgramContext,
): Promise<void> {
  await setPassword(options.users, name, await hashPassword(await newPassword(name, options, context)))
  context.stdout.write(`password of '${name}' changed in ${options.users}\n`)
}

/** `twinbore user remove NAME`. */
export async function removeUserCommand(
  name: string,
  options: UserCommandOptions,
  context: ProgramContext,
): Promise<void> {
  await removeUser(options.users, name)
  context.stdout.write(`user '${name}' removed from ${options.users}\n`)
}

/** `twinbore user list`: one user a line, name first. */
export async function listUsersCommand(
  options: UserCommandOptions & { readonly json?: boolean },
  context: ProgramContext,
): Promise<void> {
  const { users, problems } = await readUsersFile(options.users)
  if (problems.length > 0) {
    throw new GatewayError('ERR_GATEWAY_USERS_FILE', problems.map(formatProblem).join('\n'), { problems })
  }
  const rows = [...users.values()].map(({ name, password, otpSecret, disabled, groups, addresses }) => ({
    name,
    password: password !== undefined,
    otp: otpSecret !== undefined,
    disabled,
    groups: [...groups],
    addresses: addresses.map(String),
  }))
  if (options.json) {
    context.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
    return
  }
  for (const { name, password, otp, disabled, groups, addresses } of rows) {
    const facts = [
      password ? 'password' : 'certificate only',
      ...(otp ? ['one-time codes'] : []),
      ...(disabled ? ['disabled'] : []),
      ...(groups.length > 0 ? [`groups ${groups.join(',')}`] : []),
      ...(addresses.length > 0 ? [`addresses ${addresses.join(',')}`] : []),
    ]
    context.stdout.write(`${name}\t${facts.join('; ')}\n`)
  }
}

async function newPassword(name: string, options: UserCommandOptions, context: ProgramContext): Promise<string> {
  if (options.passwordFile !== undefined) return readPasswordFile(options.passwordFile)
  const secrets = new SecretReader(context)
  try {
    return await secrets.askNew(`Password for ${name}: `, 'Once more: ')
  } finally {
    secrets.close()
  }
}
