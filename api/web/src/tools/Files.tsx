// Files of the workspace.

import { Download } from '../page/Download';
import { bytes } from '../page/numbers';

interface FileRow {
  file_id: string;
  name: string;
  path: string;
  size_bytes: number;
  mime_type: string;
}

export function Files({ files }: { files: FileRow[] }) {
  if (files.length === 0) return <p className="faint">No files.</p>;
  return (
    <ul className="plain">
      {files.map(({ file_id, name, path, size_bytes, mime_type }) => (
        <li key={path} title={path}>
          <Download url={`/api/workspace/files/${file_id}/download`} name={name} /> <span className="faint">{`${bytes(size_bytes)} · ${mime_type}`}</span>
        </li>
      ))}
    </ul>
  );
}
