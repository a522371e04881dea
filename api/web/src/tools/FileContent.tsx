// What a file says, or how it begins.

import { Download } from '../page/Download';
import { Files } from './Files';
import type { Response } from './response';

/** More would only be scrolled past. */
const LONGEST = 20_000;

function textOf({ mime_type, content_base64 }: Response<'workspace_file_content'>): string | undefined {
  if (!/^text\/|json|xml|yaml|javascript/.test(mime_type)) return undefined;
  try {
    const bytes = Uint8Array.from(atob(content_base64), (letter) => letter.charCodeAt(0));
    return new TextDecoder().decode(bytes).slice(0, LONGEST);
  } catch {
    return undefined;
  }
}

function Beginning({ text }: { text: string }) {
  return (
    <pre className="output" tabIndex={0} aria-label="What it says">
      {text}
    </pre>
  );
}

export function FileContent({ response }: { response: Response<'workspace_file_content'> }) {
  const text = textOf(response);
  return (
    <>
      <p title={response.path}>
        <Download url={`/api/workspace/files/${response.file_id}/download`} name={response.name} />{' '}
        <span className="faint">{response.mime_type}</span>
      </p>
      {text && <Beginning text={text} />}
    </>
  );
}

type Described = Response<'workspace_file_metadata'> | Response<'workspace_file_written'>;

export function FileDescribed({ response }: { response: Described }) {
  const begins = response.type === 'workspace_file_metadata' ? response.preview : response.content_preview;
  return (
    <>
      <Files files={[response]} />
      {begins && <Beginning text={begins} />}
    </>
  );
}
