//! A harmless file that the shipped networks call malicious.

/// A script that says what web shells say, and does nothing.
pub(crate) fn suspect() -> String {
    let lines = (b'A'..=b'T').map(|letter| {
        let word = char::from(letter);
        format!("$v{letter}=str_rot13('{word}wcH{word}wcH{word}wcH');\n")
    });
    let lines: String = lines.collect();
    format!(
        "<?php\n@error_reporting(0);@ini_set('display_errors',0);@set_time_limit(0);\n\
         $auth_pass='63a9f0ea7bb98050796b649e85481845';\n\
         $cwd=@getcwd();$disable=@ini_get('disable_functions');\n\
         foreach(array('passthru','shell_exec','system','popen') as $f)\
         {{if(!function_exists($f))continue;}}\n{lines}\
         $x='eJxLTc7IV1AvycgsVkjJTy1WyMsHsvPSFRJLFBJzctStUymUBwBocCGR';\n\
         if(isset($_POST['cmd'])){{echo '<pre>'; echo 'no'; echo '</pre>';}}\n\
         eval(gzuncompress(base64_decode($x)));\n?>\
         <html><title>shell</title><body bgcolor=black text=lime><form method=POST>\
         <input type=text name=cmd size=50><input type=submit value='Execute'></form>\
         <form enctype='multipart/form-data' method=POST><input type=file name=f>\
         <input type=submit value=Upload></form></body></html>\n"
    )
}
